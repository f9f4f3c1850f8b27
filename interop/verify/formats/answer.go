package formats

import "math"

// §7: answers, and what they show.

const (
	rulesVersion = 1
	language     = "4.6.0"
)

// Shown is what a verified answer shows. Where there is more than one decision, conditions that were not executed
// say which of them it is.
type Shown struct {
	Decisions []*Decision
	Head      *Head
	// Whose statements were counted, and who signed the head; by node.
	Signers, HeadSigners []*Voter
	// In which the decision holds: for the past, the moment twice.
	LowMs, HighMs uint64
	ClockMinMs    uint64
	ClockMaxMs    uint64
	// Of the past, the state that decided.
	State *StateEntry
	// The agent's, if it has a record and that was read.
	Agent *AgentRecord
}

// Moment of the past: a block, or a time.
type Moment struct {
	Value  uint64
	IsTime bool
}

// proof is what answers of all kinds have in common.
type proof struct {
	head       *Head
	statements []*Statement
	signatures []*Statement
}

func readProof(head []byte, statements, headStatements [][]byte) (*proof, bool) {
	p := &proof{}
	var ok [3]bool
	p.head, ok[0] = readHead(head)
	p.statements, ok[1] = readStatements(statements)
	p.signatures, ok[2] = readStatements(headStatements)
	return p, ok == [3]bool{true, true, true}
}

// question is that of §5.1.
func (r *Request) question(nonce Hash) Hash {
	var generation, knowledge Hash
	copy(generation[:], r.Generation)
	if r.Knowledge != nil {
		copy(knowledge[:], r.Knowledge.Root)
	}
	text := func(t string) []byte { return append(u16(len(t)), t...) }
	return labelled("chancery/question/v1", nonce[:], r.ArgsDigest[:], generation[:], knowledge[:],
		text(r.Agent), text(r.Action), text(r.Resource))
}

func (r *Request) prepare() {
	r.arguments, r.argumentsFault = usableArguments(r.Args, r.ArgsDigest)
}

// root is the nonce root to which a path leads from a question.
func (p *NoncePath) root(question Hash) (Hash, bool) {
	path, ok := hashesOf(p.Hashes)
	if !ok || p.Count < 1 || p.Count > 65_536 {
		return Hash{}, false
	}
	tree, ok := rootOf(leafHash(question[:]), uint64(p.Index), uint64(p.Count), path)
	return nonceRoot(p.Count, tree), ok
}

func nonceRoot(count uint32, tree Hash) Hash {
	return labelled("chancery/nonces/v1", u32(count), tree[:])
}

// VerifyCheck is §7.1; without a nonce §7.2.
func (t *Trust) VerifyCheck(request *Request, nonce *Hash, data []byte) (*Shown, error) {
	a, err := decode[Answer](data)
	if err != nil {
		return nil, err
	}
	p, ok := readProof(a.Head, a.Statements, a.HeadStatements)
	tree, err := ReadPruned(a.Tree)
	if !ok || err != nil || !areAnswerParts(a.Hint, a.Language) {
		return nil, malformed
	}
	if a.NoncePath != nil {
		if _, ok := hashesOf(a.NoncePath.Hashes); !ok {
			return nil, malformed
		}
	}
	if err := t.checkHead(p.head); err != nil {
		return nil, err
	}
	if (nonce == nil) != (a.NoncePath == nil) {
		return nil, Refusal("other_mode")
	}
	var root *Hash
	if nonce != nil {
		made, ok := a.NoncePath.root(request.question(*nonce))
		if !ok {
			return nil, Refusal("nonce_path")
		}
		root = &made
	}
	shown, err := t.verifyFreshness(p, root)
	if err != nil {
		return nil, err
	}
	shown.LowMs, shown.HighMs = max(p.head.TimeMs, shown.ClockMinMs), max(p.head.TimeMs, shown.ClockMaxMs)
	return shown.decide(request, a.Language, a.Hint, tree, p.head.StateRoot)
}

// VerifyPast is §7.3.
func (t *Trust) VerifyPast(request *Request, moment Moment, data []byte) (*Shown, error) {
	a, err := decode[PastAnswer](data)
	if err != nil {
		return nil, err
	}
	p, ok := readProof(a.Head, a.Statements, a.HeadStatements)
	tree, err := ReadPruned(a.Tree)
	if !ok || err != nil || !areAnswerParts(a.Hint, a.Language) || !a.State.isWellFormed() ||
		a.Next != nil && !a.Next.isWellFormed() {
		return nil, malformed
	}
	if err := t.checkHead(p.head); err != nil {
		return nil, err
	}
	shown, err := t.verifyFreshness(p, nil)
	if err != nil {
		return nil, err
	}
	reached := p.head.Block
	if moment.IsTime {
		reached = shown.ClockMinMs
	}
	if moment.Value > reached {
		return nil, Refusal("past/not_reached")
	}
	state, err := a.State.stateIn(p.head)
	if err != nil {
		return nil, err
	}
	if moment.of(state) > moment.Value {
		return nil, Refusal("past/too_late")
	}
	if a.Next == nil {
		if a.State.Index != p.head.LogSize-1 {
			return nil, Refusal("past/not_the_last")
		}
	} else {
		next, err := a.Next.stateIn(p.head)
		if err != nil {
			return nil, err
		}
		if next.Previous == nil || *next.Previous != a.State.Index || moment.of(next) <= moment.Value {
			return nil, Refusal("past/not_the_last")
		}
	}
	shown.State = state
	shown.LowMs = moment.Value
	if !moment.IsTime {
		shown.LowMs = state.TimeMs
	}
	shown.HighMs = shown.LowMs
	return shown.decide(request, a.Language, a.Hint, tree, Hash(state.StateRoot))
}

func (m Moment) of(state *StateEntry) uint64 {
	if m.IsTime {
		return state.TimeMs
	}
	return state.Block
}

func (l *ProvenLeaf) isWellFormed() bool {
	if l == nil || len(l.Entry) > math.MaxUint16 || len(l.Proof) > 64 {
		return false
	}
	_, ok := hashesOf(l.Proof)
	return ok
}

// stateIn is the state that a leaf tells, which is in the log of a head.
func (l *ProvenLeaf) stateIn(head *Head) (*StateEntry, error) {
	path, _ := hashesOf(l.Proof)
	if !provenLeaf(l.Entry, l.Index, path, head) {
		return nil, Refusal("inclusion")
	}
	_, state, err := readEntry(l.Entry)
	switch {
	case err != nil:
		return nil, err
	case state == nil:
		return nil, Refusal("past/not_a_state")
	case state.RulesVersion != rulesVersion:
		return nil, Refusal("unknown_rules")
	}
	return state, nil
}

func areAnswerParts(hint *GrantRef, language string) bool {
	return (hint == nil || hint.isWellFormed()) && isLanguage(language)
}

// isLanguage is whether it is three numbers of 1 to 4 digits with points between them.
func isLanguage(text string) bool {
	numbers, digits := 1, 0
	for _, c := range []byte(text) {
		switch {
		case '0' <= c && c <= '9' && digits < 4:
			digits++
		case c == '.' && digits > 0:
			numbers, digits = numbers+1, 0
		default:
			return false
		}
	}
	return numbers == 3 && digits > 0
}

// checkHead is step 1.
func (t *Trust) checkHead(head *Head) error {
	switch {
	case head.Ledger != t.Ledger:
		return Refusal("trust/other_ledger")
	case head.Block < t.minimumBlock:
		return Refusal("trust/rolled_back")
	case head.RulesVersion != rulesVersion:
		return Refusal("unknown_rules")
	}
	return nil
}

// firstFresh names the roster.
func (p *proof) firstFresh() *Statement {
	for _, s := range p.statements {
		if s.Fresh {
			return s
		}
	}
	return nil
}

// verifyFreshness is steps 3 to 5; without a nonce root, all are of one round.
func (t *Trust) verifyFreshness(p *proof, root *Hash) (*Shown, error) {
	first := p.firstFresh()
	if first == nil {
		return nil, Refusal("freshness/too_few")
	}
	if root == nil {
		root = &first.NonceRoot
	}
	named := first.TailRoster
	if named.Block < t.minimumRoster.Block {
		return nil, Refusal("trust/roster_rolled_back")
	}
	at := find(t.rosters, named)
	if at < 0 || p.head.Block < named.Block {
		return nil, Refusal("trust/unknown_roster")
	}
	roster := []*Roster{t.rosters[at].roster}
	nodes, err := verifyEach(p.head.Ledger, roster, p.statements)
	if err != nil {
		return nil, under("freshness", err)
	}
	shown := &Shown{Head: p.head, ClockMinMs: math.MaxUint64}
	for _, s := range p.statements {
		switch {
		case !s.Fresh:
			return nil, Refusal("freshness/not_fresh")
		case s.NonceRoot != *root:
			return nil, Refusal("freshness/wrong_nonce")
		case s.TailRoster != named:
			return nil, Refusal("freshness/wrong_roster")
		case s.TailBlock > p.head.Block:
			return nil, Refusal("freshness/tail_above_head")
		}
		shown.Signers = append(shown.Signers, voterOf(roster, s.Node))
		shown.ClockMinMs, shown.ClockMaxMs = min(shown.ClockMinMs, s.ClockMs), max(shown.ClockMaxMs, s.ClockMs)
	}
	if !haveQuorum(roster, nodes) {
		return nil, Refusal("freshness/too_few")
	}
	var signatures []*Statement
	for _, s := range p.statements {
		if string(s.Head.Bytes) == string(p.head.Bytes) {
			signatures = append(signatures, s)
		}
	}
	shown.HeadSigners, err = t.verifyHead(p.head, append(signatures, p.signatures...))
	return shown, err
}

// decide is steps 6 and 8 to 10.
func (s *Shown) decide(request *Request, spoken string, hint *GrantRef, tree *Pruned, root Hash) (*Shown, error) {
	if spoken != language {
		return nil, Refusal("other_language")
	}
	if tree.Root() != root {
		return nil, Refusal("state_root")
	}
	var err error
	request.prepare()
	s.Decisions, s.Agent, err = decide(request, s.LowMs, s.HighMs, hint, tree)
	return s, err
}
