package formats

import (
	"encoding/json"
	"reflect"
	"testing"
)

// The sections that show what is believed and what is refused: chains, answers and files.

func TestRosterChain(t *testing.T) {
	trust := trustOfFile(t)
	genesis := trust.rosters[0]
	same(t, "roster", hexed(encode(genesis.roster)), known.Roster.Encoded)
	same(t, "digest", genesis.id.Digest.String(), known.Roster.Digest)
	trust = trusted(t)
	var ids []string
	for _, proven := range trust.rosters[1:] {
		ids = append(ids, proven.id.String())
	}
	same(t, "rosters", ids, known.RosterChain.Rosters)
}

func TestRefusedChains(t *testing.T) {
	type vector = struct{ Name, Chain, Error string }
	each(t, known.RefusedChains, func(c vector) string { return c.Name }, func(t *testing.T, c vector) {
		trust := trustOfFile(t)
		same(t, "refused", errorText(trust.prove(unhexed(t, c.Chain))), c.Error)
		same(t, "nothing was proven", len(trust.rosters), 1)
	})
}

func (q *questionVector) request(t *testing.T) *Request {
	r := &Request{Agent: q.Agent, Action: q.Action, Resource: q.Resource, ArgsDigest: Hash(unhexed(t, q.ArgsDigest))}
	if q.Args != nil {
		r.Args = []byte(*q.Args)
	}
	if q.Generation != nil {
		r.Generation = unhexed(t, *q.Generation)
	}
	if q.Knowledge != nil {
		var err error
		r.Knowledge, err = decode[Knowledge](unhexed(t, *q.Knowledge))
		if err != nil || !r.Knowledge.isWellFormed() {
			t.Fatal("malformed knowledge")
		}
	}
	return r
}

func (q *questionVector) nonce(t *testing.T) *Hash {
	if q.Nonce == nil {
		return nil
	}
	nonce := Hash(unhexed(t, *q.Nonce))
	return &nonce
}

// isAmong holds the one decision of a vector, made with conditions executed, against what may be without.
func isAmong(t *testing.T, decisions []*Decision, want json.RawMessage) {
	t.Helper()
	var wanted map[string]any
	if err := json.Unmarshal(want, &wanted); err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		got := asVector(t, d)
		if d.Denial != nil && d.Denial.Condition != nil && d.Denial.Condition.Reason == NotExecuted {
			// Which policies failed it is not known without executing it.
			denied, ok := wanted["denied"].(map[string]any)
			if ok && denied["code"] == "condition_failed" && denied["grant"] == got["denied"].(map[string]any)["grant"] {
				return
			}
		}
		if reflect.DeepEqual(got, wanted) {
			return
		}
	}
	var all []map[string]any
	for _, d := range decisions {
		all = append(all, asVector(t, d))
	}
	t.Errorf("got %v, want %v", all, wanted)
}

func isConditional(decisions []*Decision) bool {
	for _, d := range decisions {
		if d.IsOpen() {
			return true
		}
	}
	return false
}

func asVector(t *testing.T, d *Decision) map[string]any {
	t.Helper()
	var out map[string]any
	if d.Permit != nil {
		out = permitVector(d.Permit)
	} else {
		out = map[string]any{"denied": denialVector(d.Denial)}
	}
	return throughJSON(t, out)
}

// throughJSON has it of the types that the file is read into.
func throughJSON(t *testing.T, value map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func permitVector(p *PermitDecision) map[string]any {
	chain, bounds := []any{}, []any{}
	for _, ref := range p.Chain {
		chain = append(chain, map[string]any{"grant": hexed(ref.Grant), "root": hexed(ref.Root)})
	}
	for _, b := range p.Bounds {
		bounds = append(bounds, map[string]any{"grant": hexed(b.Grant.Grant), "name": b.Bound.Name,
			"meter_key": b.Meter.String(), "limit": b.Bound.Limit, "used": b.Used, "wanted": b.Wanted})
	}
	return map[string]any{"permit": map[string]any{"chain": chain, "generation": generationVector(p.Generation),
		"max_staleness_ms": p.MaxStalenessMs, "not_after_ms": p.NotAfterMs, "bounds": bounds}}
}

func generationVector(g *GenerationRef) any {
	if g == nil {
		return nil
	}
	return map[string]any{"number": g.Number, "id": hexed(g.ID)}
}

func denialVector(d *Denial) map[string]any {
	out := map[string]any{"code": d.Code}
	if d.Cause != nil {
		out["cause"] = map[string]any{"index": d.Cause.Index, "block": d.Cause.Block, "time_ms": d.Cause.TimeMs,
			"signer": hexed(d.Cause.Signer)}
	}
	if d.Grant != nil {
		out["grant"] = hexed(d.Grant.Grant)
	}
	if d.Agent != "" {
		out["agent"] = d.Agent
	}
	if d.Lineage != "" {
		out["lineage"] = d.Lineage
	}
	if d.Outside != "" {
		out["outside"] = d.Outside
	}
	if denials[d.Code].generation {
		out["generation_number"] = d.Generation
	}
	switch d.Code {
	case "ended":
		out["not_after_ms"] = d.TimeMs
	case "not_begun":
		out["not_before_ms"] = d.TimeMs
	case "halted":
		out["reason"] = d.Reason
		kind, subject := d.Halted.Describe()
		out["scope"] = map[string]any{"kind": kind, "subject": subject}
		if kind == "everything" {
			out["scope"] = map[string]any{"kind": kind, "subject": nil}
		}
	case "bound_exhausted":
		out["name"], out["limit"], out["used"], out["wanted"] = d.Bound.Name, d.Bound.Limit, d.Bound.Used, d.Bound.Wanted
	case "knowledge_missing":
		k := d.Knowledge
		out["template"], out["max_age_ms"], out["retrieved_at_ms"] = k.Template, k.MaxAgeMs, k.RetrievedAtMs
		out["source"] = nil
		if k.Source != "" {
			out["source"] = k.Source
		}
	case "condition_failed":
		policies := []any{}
		for _, p := range d.Condition.Policies {
			policies = append(policies, p)
		}
		out["reason"], out["policies"] = d.Condition.Reason, policies
	}
	return out
}

func (want *shownVector) check(t *testing.T, got *Shown, err error) {
	t.Helper()
	same(t, "error", errorText(err), want.Error)
	if err != nil || want.Error != "" {
		return
	}
	same(t, "nodes", nodesOf(got.Signers), want.Nodes)
	isAmong(t, got.Decisions, want.Decision)
}

func nodesOf(voters []*Voter) []uint64 {
	var nodes []uint64
	for _, v := range voters {
		nodes = append(nodes, v.Node)
	}
	return nodes
}

func answerName(c answerVector) string { return c.Name }

func TestAnswers(t *testing.T) {
	trust := trusted(t)
	conditional := 0
	each(t, known.Answers, answerName, func(t *testing.T, c answerVector) {
		request, nonce := c.Question.request(t), c.Question.nonce(t)
		same(t, "question", request.question(*nonce).String(), *c.Question.Question)
		data := unhexed(t, c.Answer)
		answer, err := decode[Answer](data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "encoded again", hexed(encode(answer)), c.Answer)
		same(t, "read set", hexed(answer.Tree), c.ReadSet)
		shown, err := trust.VerifyCheck(request, nonce, data)
		c.check(t, shown, err)
		if err != nil {
			return
		}
		same(t, "block", shown.Head.Block, c.Block)
		same(t, "interval", []uint64{shown.LowMs, shown.HighMs}, c.IntervalMs)
		var recorded map[string]any
		if shown.Agent != nil {
			recorded = throughJSON(t, map[string]any{"decisions": shown.Agent.Decisions, "permits": shown.Agent.Permits})
		}
		var want map[string]any
		if err := json.Unmarshal(c.Recorded, &want); err != nil {
			t.Fatal(err)
		}
		same(t, "recorded", recorded, want)
		if isConditional(shown.Decisions) {
			conditional++
		} else {
			same(t, "decisions", len(shown.Decisions), 1)
		}
		same(t, "of another agent", errorText(asAnother(trust, *request, nonce, data)), "freshness/wrong_nonce")
	})
	same(t, "some rest on conditions", conditional > 0, true)
}

func asAnother(trust *Trust, request Request, nonce *Hash, data []byte) error {
	request.Agent += "x"
	_, err := trust.VerifyCheck(&request, nonce, data)
	return err
}

func TestRefusedAnswers(t *testing.T) {
	trust := trusted(t)
	each(t, known.RefusedAnswers, answerName, func(t *testing.T, c answerVector) {
		_, err := trust.VerifyCheck(c.Question.request(t), c.Question.nonce(t), unhexed(t, c.Answer))
		same(t, "error", errorText(err), c.Error)
	})
}

func laterName(c laterVector) string { return c.Name }

func TestRecentAnswers(t *testing.T) {
	trust := trusted(t)
	each(t, known.RecentAnswers, laterName, func(t *testing.T, c laterVector) {
		shown, err := trust.VerifyCheck(c.Question.request(t), nil, unhexed(t, c.Answer))
		c.Shows.check(t, shown, err)
		if err == nil {
			same(t, "block", shown.Head.Block, c.Shows.Block)
			same(t, "interval", []uint64{shown.LowMs, shown.HighMs}, c.Shows.IntervalMs)
			same(t, "least clock", shown.ClockMinMs, c.Shows.ClockMinMs)
		}
	})
}

func TestPastAnswers(t *testing.T) {
	trust := trusted(t)
	each(t, known.PastAnswers, laterName, func(t *testing.T, c laterVector) {
		var moment Moment
		if c.Question.Block != nil {
			moment.Value = *c.Question.Block
		} else {
			moment = Moment{*c.Question.TimeMs, true}
		}
		shown, err := trust.VerifyPast(c.Question.request(t), moment, unhexed(t, c.Answer))
		c.Shows.check(t, shown, err)
		if err == nil {
			same(t, "state", []uint64{shown.State.Block, shown.State.TimeMs, shown.LowMs, shown.Head.Block},
				[]uint64{c.Shows.Block, c.Shows.BlockTimeMs, c.Shows.TimeMs, c.Shows.HeadBlock})
			same(t, "state root", hexed(shown.State.StateRoot), c.Shows.StateRoot)
		}
	})
}

// TestMinimum is what a trust refuses because it has seen more.
func TestMinimum(t *testing.T) {
	c := known.Answers[0]
	verified := func(trust *Trust) string {
		_, err := trust.VerifyCheck(c.Question.request(t), c.Question.nonce(t), unhexed(t, c.Answer))
		return errorText(err)
	}
	same(t, "as it is", verified(trusted(t)), "")
	trust := trusted(t)
	trust.minimumBlock = c.Block + 1
	same(t, "a later block was seen", verified(trust), "trust/rolled_back")
	trust = trusted(t)
	trust.minimumRoster = trust.newestRoster()
	same(t, "a later roster was seen", verified(trust), "trust/roster_rolled_back")
	for _, e := range known.Evidence {
		if e.Shows.Error == "" {
			_, err := trust.VerifyEvidence([]byte(e.File))
			same(t, "evidence of before: "+e.Name, errorText(err), "")
		}
	}

	trust = trustOfFile(t)
	trust.minimumRoster = RosterID{Block: 3, Digest: trust.minimumRoster.Digest}
	same(t, "past what was seen", errorText(trust.prove(unhexed(t, known.RosterChain.Chain))), "not_through_minimum")
	same(t, "nothing was proven", len(trust.rosters), 1)

	trust = trusted(t)
	trust.rosters[1].id.Block++
	forked := 0
	for _, e := range known.Evidence {
		if _, err := trust.VerifyEvidence([]byte(e.File)); errorText(err) == "forked" {
			forked++
		}
	}
	same(t, "other rosters were proven before", forked > 0, true)
}
