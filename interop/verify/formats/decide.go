package formats

import "bytes"

// §8. Conditions are not executed here: where one would decide, all that it may come to is followed, and what is
// proven is that one of the decisions told holds, each with what it takes for granted of conditions.

// Request is what an agent may do or not.
type Request struct {
	Agent, Action, Resource string
	ArgsDigest              Hash
	Args                    []byte // nil if they are not shown
	Generation              []byte // nil if none is named
	Knowledge               *Knowledge

	arguments *jsonValue
	// Why there are none.
	argumentsFault string
}

// Decision is a permit or a denial.
type Decision struct {
	Permit *PermitDecision
	Denial *Denial
	// What it takes for granted of the conditions of its grant's chain.
	Assumes []Assumption
	// The grants that would have permitted before it, if their conditions held.
	PassedOver []*GrantRef
}

// Assumption is that the condition of a grant holds, or that it does not.
type Assumption struct {
	Grant *GrantRef
	Holds bool
}

// PermitDecision is what a permit rests on.
type PermitDecision struct {
	Chain          []*GrantRef
	Generation     *GenerationRef
	MaxStalenessMs uint64
	NotAfterMs     uint64
	Bounds         []BoundState
}

// BoundState is what a permit finds of a bound.
type BoundState struct {
	Grant  *GrantRef
	Bound  *Bound
	Meter  Hash // its key in the state tree
	Used   uint64
	Wanted uint64
}

// NotExecuted is the reason told of a condition that may fail, if it does.
const NotExecuted = "not_re-executed_here"

// IsOpen is whether a condition stands behind it that was not executed.
func (d *Decision) IsOpen() bool { return len(d.Assumes) > 0 || len(d.PassedOver) > 0 }

func denied(denial *Denial) []*Decision { return []*Decision{{Denial: denial}} }

type decider struct {
	request    *Request
	hint       *GrantRef
	low, high  uint64
	tree       *Pruned
	halts      []*ActiveHalt
	agent      *AgentRecord
	lineage    *LineageRecord
	generation *GenerationRef
	decisions  []*Decision
	passedOver []*GrantRef
	// Why something that may have been decided is no answer.
	refused error
}

// decide tells every decision that may be; there is one at least. The agent's record is nil if there is none.
func decide(request *Request, low, high uint64, hint *GrantRef, tree *Pruned) ([]*Decision, *AgentRecord, error) {
	d := &decider{request: request, hint: hint, low: low, high: high, tree: tree}
	if err := d.run(); err != nil && d.refused == nil {
		d.refused = err
	}
	if len(d.decisions) == 0 {
		return nil, nil, d.refused
	}
	return d.decisions, d.agent, nil
}

// tell takes a decision that was come to by what has been read so far, if all of it was needed, and the hint too.
func (d *decider) tell(decision *Decision) {
	var refused error
	switch {
	case !d.tree.allUsed():
		refused = Refusal("unused")
	case d.hint != nil && (decision.Permit == nil || !decision.Permit.Chain[0].equals(d.hint)):
		refused = Refusal("unused_hint")
	default:
		told := *decision
		told.PassedOver = append([]*GrantRef(nil), d.passedOver...)
		d.decisions = append(d.decisions, &told)
		return
	}
	if d.refused == nil {
		d.refused = refused
	}
}

func (r *GrantRef) equals(other *GrantRef) bool {
	return bytes.Equal(r.Grant, other.Grant) && bytes.Equal(r.Root, other.Root)
}

func (d *decider) run() error {
	told, err := d.beforeGrants()
	if err != nil {
		return err
	}
	if told != nil {
		d.tell(&Decision{Denial: told})
		return nil
	}
	if d.hint != nil {
		record, err := d.tree.get("grant", d.hint.Root, d.hint.Grant)
		if err != nil {
			return err
		}
		if record != nil {
			if _, done, err := d.takePermit(d.hint, record.Grant); done || err != nil {
				return err
			}
		}
	}
	return d.walk()
}

// beforeGrants is what is decided without looking at grants.
func (d *decider) beforeGrants() (*Denial, error) {
	halts, err := d.must("halts", []byte("halts"), nil)
	if err != nil {
		return nil, err
	}
	d.halts = halts.Halts.Active
	record, err := d.tree.get("agent", []byte(d.request.Agent), nil)
	if err != nil {
		return nil, err
	}
	name := d.request.Agent
	if record != nil {
		d.agent = record.Agent
		name = d.agent.Lineage
	}
	var last *ActiveHalt
	for _, h := range d.halts {
		if h.Scope.stops(d.request.Agent, name) || h.Scope.Action != nil && matches(*h.Scope.Action, d.request.Action) ||
			h.Scope.Resource != nil && matches(*h.Scope.Resource, d.request.Resource) {
			last = h
		}
	}
	switch {
	case last != nil:
		return d.halted(last)
	case d.agent == nil:
		return &Denial{Code: "unknown_agent"}, nil
	case d.agent.Retired != nil:
		return &Denial{Code: "retired", Agent: d.request.Agent, Cause: d.agent.Retired}, nil
	}
	if d.lineage, err = d.lineageOf(d.agent); err != nil {
		return nil, err
	}
	if told, err := d.checkGeneration(); told != nil || err != nil {
		return told, err
	}
	return d.forbidden(d.agent.Lineage, d.lineage)
}

func (d *decider) must(kind string, anchor, id []byte) (*Record, error) {
	record, err := d.tree.get(kind, anchor, id)
	if err == nil && record == nil {
		err = undecided
	}
	return record, err
}

func (d *decider) lineageOf(agent *AgentRecord) (*LineageRecord, error) {
	record, err := d.tree.get("lineage", []byte(agent.Lineage), nil)
	if record == nil || err != nil {
		return nil, err
	}
	return record.Lineage, nil
}

func (s *HaltScope) stops(agent, lineage string) bool {
	return s.Everything != nil || s.Agent != nil && *s.Agent == agent || s.Lineage != nil && *s.Lineage == lineage
}

func (d *decider) halted(h *ActiveHalt) (*Denial, error) {
	record, err := d.must("halt", []byte("halts"), u64(h.Index))
	if err != nil {
		return nil, err
	}
	return &Denial{Code: "halted", Halted: record.Halt.Scope, Reason: record.Halt.Reason, Cause: record.Halt.Cause}, nil
}

func (d *decider) checkGeneration() (*Denial, error) {
	name, l, asked := d.agent.Lineage, d.lineage, d.request.Generation
	if asked == nil && l != nil && l.Count > 0 || asked != nil && l == nil {
		return &Denial{Code: "unregistered_generation", Lineage: name}, nil
	}
	if asked == nil {
		return nil, nil
	}
	for _, g := range l.InService {
		if bytes.Equal(g.ID, asked) {
			d.generation = g
			return nil, nil
		}
	}
	record, err := d.tree.get("generation", []byte(name), asked)
	switch {
	case err != nil:
		return nil, err
	case record == nil:
		return &Denial{Code: "unregistered_generation", Lineage: name}, nil
	case record.Generation.Released == nil:
		n := record.Generation
		return &Denial{Code: "quarantined_generation", Lineage: name, Generation: n.Number, Cause: n.Registered}, nil
	case l.Moved == nil:
		return nil, undecided
	default:
		n := record.Generation
		return &Denial{Code: "superseded_generation", Lineage: name, Generation: n.Number, Cause: l.Moved}, nil
	}
}

func (d *decider) forbidden(name string, l *LineageRecord) (*Denial, error) {
	if l == nil {
		return nil, nil
	}
	outside := ""
	switch c := l.Constraints; {
	case len(c.Actions) > 0 && !matchesAny(c.Actions, d.request.Action):
		outside = "action"
	case len(c.Resources) > 0 && !matchesAny(c.Resources, d.request.Resource):
		outside = "resource"
	default:
		return nil, nil
	}
	if l.Set == nil {
		return nil, undecided
	}
	return &Denial{Code: "lineage_constraint", Lineage: name, Outside: outside, Cause: l.Set}, nil
}

// takePermit considers a grant. If it permits, that is told. What remains are its denials; if there are none, it is
// done.
func (d *decider) takePermit(ref *GrantRef, grant *GrantRecord) (denials []*Decision, done bool, err error) {
	outcomes, err := d.consider(ref, grant)
	if err != nil {
		return nil, false, err
	}
	permits := false
	for _, outcome := range outcomes {
		if outcome.Permit != nil {
			permits = true
			d.tell(outcome)
		} else {
			denials = append(denials, outcome)
		}
	}
	if permits {
		d.passedOver = append(d.passedOver, ref)
	}
	return denials, len(denials) == 0, nil
}

// walk looks at every grant of the agent's, until one permits.
func (d *decider) walk() error {
	first := &Denial{Code: "no_grant"}
	if d.agent.EpochBegan != nil {
		first = &Denial{Code: "all_revoked", Agent: d.request.Agent, Cause: d.agent.EpochBegan}
	}
	told := denied(first)
	var listed uint32
	for n := uint32(0); n < d.agent.Pages; n++ {
		id := append(u64(d.agent.Epoch), u32(n)...)
		page, err := d.must("page", []byte(d.request.Agent), id)
		if err != nil {
			return err
		}
		for _, ref := range page.Page.Grants {
			listed++
			record, err := d.must("grant", ref.Root, ref.Grant)
			if err != nil {
				return err
			}
			denials, done, err := d.takePermit(ref, record.Grant)
			if done || err != nil {
				return err
			}
			told = gravest(told, denials)
		}
	}
	if listed != d.agent.Grants {
		return undecided
	}
	for _, decision := range told {
		d.tell(decision)
	}
	return nil
}

// gravest is what is told after each of the denials so far and each of a further grant.
func gravest(told, further []*Decision) []*Decision {
	var out []*Decision
	seen := map[*Decision]bool{}
	for _, t := range told {
		for _, f := range further {
			graver := t
			if f.Denial.isGraverThan(t.Denial) {
				graver = f
			}
			if !seen[graver] {
				seen[graver] = true
				out = append(out, graver)
			}
		}
	}
	return out
}

var gravity = map[string]int{
	"halted": 12, "revoked": 11, "retired": 10, "all_revoked": 9, "bound_exhausted": 8, "knowledge_missing": 7,
	"condition_failed": 6, "ended": 5, "not_begun": 4, "lineage_constraint": 3, "no_grant": 1,
}

func (d *Denial) isGraverThan(other *Denial) bool {
	if d.Code != other.Code {
		return gravity[d.Code] > gravity[other.Code]
	}
	switch {
	case d.Cause != nil:
		return d.Cause.Index > other.Cause.Index
	case d.Code == "ended":
		return d.TimeMs > other.TimeMs
	case d.Code == "not_begun":
		return d.TimeMs < other.TimeMs
	}
	return false
}
