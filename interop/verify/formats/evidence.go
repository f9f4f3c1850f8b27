package formats

// §9: evidence, and what is like it.

const (
	evidenceSizeMax      = 33_554_432 // and of a record
	contradictionSizeMax = 35_651_584
	knowledgeSizeMax     = 16_384
	proofHashesMax       = 64
)

// Kind is the format of a file.
type Kind string

// The formats.
const (
	KindEvidence      Kind = "chancery-evidence/v1"
	KindContradiction Kind = "chancery-contradiction/v1"
	KindRecord        Kind = "chancery-record/v1"
	KindKnowledge     Kind = "chancery-knowledge/v1"
)

// readFile is the members of a file, all but its format.
func readFile(file []byte, sizeMax int) (Kind, *members, error) {
	if len(file) > sizeMax {
		return "", nil, malformed
	}
	// Deeper than any of the formats. Which numbers may be is seen where they are read.
	value, faults := parseJSON(file, 6)
	if value == nil || faults.duplicate || faults.deep {
		return "", nil, malformed
	}
	m := value.object()
	kind := Kind(m.text("format"))
	if m.bad {
		return "", nil, malformed
	}
	return kind, m, nil
}

// KindOf tells which format a file is of.
func KindOf(file []byte) (Kind, error) {
	kind, _, err := readFile(file, noPermitSizeMax)
	return kind, err
}

// Evidence is what a file of evidence shows.
type Evidence struct {
	Asked   string // check, recent_check, at_block or at_time
	Request *Request
	Nonce   Hash
	Moment  Moment
	*Shown
	Cause *Leaf
}

type fileLeaf struct {
	index uint64
	entry []byte
	proof []Hash
}

func (m *members) leaf(name string) *fileLeaf {
	inner := m.member(name)
	l := &fileLeaf{index: inner.integer("index"), entry: inner.bytes("entry")}
	items := inner.list("proof")
	for _, item := range items {
		l.proof = append(l.proof, inner.hashOf(item.text))
		inner.bad = inner.bad || item.kind != jsonText
	}
	m.bad = m.bad || !inner.done() || len(items) > proofHashesMax
	return l
}

func (m *members) optionalBytes(name string) []byte {
	if !m.has(name) {
		return nil
	}
	data := m.bytes(name)
	// Left out if there is none.
	m.bad = m.bad || len(data) == 0
	return data
}

// evidenceFile is a file of evidence. Nothing is verified yet.
type evidenceFile struct {
	*Evidence
	origin          string
	ledger          Hash
	rosters, answer []byte
	cause           *fileLeaf
}

// VerifyEvidence is §9.
func (t *Trust) VerifyEvidence(file []byte) (*Evidence, error) {
	kind, m, err := readFile(file, evidenceSizeMax)
	if err != nil || kind != KindEvidence {
		return nil, malformed
	}
	f, ok := readEvidence(m)
	if !ok {
		return nil, malformed
	}
	return t.verifyEvidence(f)
}

// readEvidence reads all members but the format.
func readEvidence(m *members) (*evidenceFile, bool) {
	f := &evidenceFile{Evidence: &Evidence{}}
	f.origin, f.ledger, f.rosters, f.answer = m.text("origin"), m.hash("ledger"), m.optionalBytes("rosters"), m.bytes("answer")
	f.readQuestion(m.member("question"), m)
	if m.has("cause") {
		f.cause = m.leaf("cause")
	}
	return f, m.done()
}

func (t *Trust) verifyEvidence(f *evidenceFile) (*Evidence, error) {
	e := f.Evidence
	from, newest, err := t.knowing(f.origin, f.ledger, f.rosters)
	if err != nil {
		return nil, err
	}
	names, err := e.newestNamed(f.answer)
	if err != nil {
		return nil, under("answer", err)
	}
	if newest != names {
		return nil, Refusal("other_rosters")
	}
	if e.isPast() {
		e.Shown, err = from.VerifyPast(e.Request, e.Moment, f.answer)
	} else {
		nonce := &e.Nonce
		if e.Asked == "recent_check" {
			nonce = nil
		}
		e.Shown, err = from.VerifyCheck(e.Request, nonce, f.answer)
	}
	if err != nil {
		return nil, under("answer", err)
	}
	if f.cause != nil {
		return e, e.verifyCause(f.cause)
	}
	return e, nil
}

func (e *Evidence) isPast() bool { return e.Asked == "at_block" || e.Asked == "at_time" }

// readQuestion marks the whole file as bad if it is not as it must be.
func (e *Evidence) readQuestion(q, file *members) {
	r := &Request{Agent: q.text("agent"), Action: q.text("action"), Resource: q.text("resource"),
		ArgsDigest: q.hash("args_digest")}
	e.Asked, e.Request = q.text("kind"), r
	switch e.Asked {
	case "check":
		e.Nonce = q.hash("nonce")
	case "recent_check":
	case "at_block":
		e.Moment = Moment{Value: q.integer("block")}
	case "at_time":
		e.Moment = Moment{Value: q.integer("time_ms"), IsTime: true}
	default:
		q.bad = true
	}
	if q.has("generation") {
		id := q.hash("generation")
		r.Generation = id[:]
	}
	if q.has("args") {
		r.Args = q.bytes("args")
		q.bad = q.bad || hash(r.Args) != r.ArgsDigest || len(r.Args) > argumentsSizeMax
	}
	if q.has("knowledge") {
		var err error
		r.Knowledge, err = decode[Knowledge](q.bytes("knowledge"))
		q.bad = q.bad || err != nil || !r.Knowledge.isWellFormed()
	}
	file.bad = file.bad || !q.done() || !isName(r.Agent) || !isName(r.Action) || !isName(r.Resource)
}

// from is a trust with what a file's rosters prove.
func (t *Trust) from(origin string, ledger Hash, rosters []byte) (*Trust, error) {
	if origin != t.Origin {
		return nil, Refusal("other_origin")
	}
	if ledger != t.Ledger {
		return nil, Refusal("other_ledger")
	}
	from := t.FromGenesis()
	if rosters != nil {
		if err := from.prove(rosters); err != nil {
			return nil, Refusal("rosters")
		}
	}
	for i, proven := range from.rosters {
		if i < len(t.rosters) && t.rosters[i].id != proven.id {
			return nil, Refusal("forked")
		}
	}
	return from, nil
}

// knowing is the same with what the trust has proven besides: whoever knows later rosters than a file shows believes nobody
// who had left. It tells the newest roster of the file's, too.
func (t *Trust) knowing(origin string, ledger Hash, rosters []byte) (*Trust, RosterID, error) {
	from, err := t.from(origin, ledger, rosters)
	if err != nil {
		return nil, RosterID{}, err
	}
	newest := from.newestRoster()
	if len(from.rosters) < len(t.rosters) {
		from.rosters = t.rosters
	}
	return from, newest, nil
}

// newestNamed is the newest roster that an answer names.
func (e *Evidence) newestNamed(answer []byte) (RosterID, error) {
	var p *proof
	ok := false
	if e.isPast() {
		if a, err := decode[PastAnswer](answer); err == nil {
			p, ok = readProof(a.Head, a.Statements, a.HeadStatements)
		}
	} else if a, err := decode[Answer](answer); err == nil {
		p, ok = readProof(a.Head, a.Statements, a.HeadStatements)
	}
	if !ok {
		return RosterID{}, malformed
	}
	names := p.head.Roster
	if first := p.firstFresh(); first != nil && first.TailRoster.Block > names.Block {
		names = first.TailRoster
	}
	return names, nil
}

// verifyCause leaves the decisions that the shown command brought about; there is one.
func (e *Evidence) verifyCause(shown *fileLeaf) error {
	var told []*Decision
	for _, d := range e.Decisions {
		if d.Denial != nil && d.Denial.Cause != nil {
			told = append(told, d)
		}
	}
	if len(told) == 0 {
		return Refusal("other_leaf")
	}
	leaf, err := commandIn(shown, e.Head)
	if err != nil {
		return err
	}
	e.Decisions = nil
	for _, d := range told {
		if leaf.isCause(shown.index, d.Denial.Cause) {
			e.Decisions = append(e.Decisions, d)
		}
	}
	if len(e.Decisions) == 0 {
		return Refusal("other_leaf")
	}
	e.Cause = leaf
	return leaf.Signed.verify(e.Head.Ledger)
}

// commandIn is a command's leaf, which is in the log of a head.
func commandIn(shown *fileLeaf, head *Head) (*Leaf, error) {
	if !provenLeaf(shown.entry, shown.index, shown.proof, head) {
		return nil, Refusal("inclusion")
	}
	leaf, _, err := readEntry(shown.entry)
	if err == nil && leaf == nil {
		err = Refusal("other_leaf")
	}
	return leaf, err
}

func (l *Leaf) isCause(index uint64, c *Cause) bool {
	return index == c.Index && l.Block == c.Block && l.TimeMs == c.TimeMs &&
		string(l.Signed.Command.Signer) == string(c.Signer)
}

// Recorded is what a record shows: that a command took effect.
type Recorded struct {
	Index uint64
	Leaf  *Leaf
	Cause *Leaf
	Head  *Head
	// Who signed the head, by node.
	Signers []*Voter
}

// VerifyRecord is §9.2.
func (t *Trust) VerifyRecord(file []byte) (*Recorded, error) {
	kind, m, err := readFile(file, evidenceSizeMax)
	if err != nil || kind != KindRecord {
		return nil, malformed
	}
	origin, ledger, rosters := m.text("origin"), m.hash("ledger"), m.optionalBytes("rosters")
	leaf := m.leaf("leaf")
	var cause *fileLeaf
	if m.has("cause") {
		cause = m.leaf("cause")
	}
	head, headOK := readHead(m.bytes("head"))
	var signed [][]byte
	for _, item := range m.list("statements") {
		signed = append(signed, m.bytesOf(item.text))
		m.bad = m.bad || item.kind != jsonText
	}
	statements, statementsOK := readStatements(signed)
	if !m.done() || !headOK || !statementsOK {
		return nil, malformed
	}
	from, newest, err := t.knowing(origin, ledger, rosters)
	if err != nil {
		return nil, err
	}
	if newest != head.Roster {
		return nil, Refusal("other_rosters")
	}
	if head.Ledger != t.Ledger {
		return nil, Refusal("trust/other_ledger")
	}
	r := &Recorded{Index: leaf.index, Head: head}
	if r.Signers, err = from.verifyHead(head, statements); err != nil {
		return nil, err
	}
	if r.Leaf, err = commandIn(leaf, head); err != nil {
		return nil, err
	}
	if err := r.Leaf.Signed.verify(head.Ledger); err != nil {
		return nil, err
	}
	if cause == nil {
		return r, nil
	}
	v := r.Leaf.Verdict
	if v == nil || v.Denial == nil || v.Denial.Cause == nil {
		return nil, Refusal("other_leaf")
	}
	if r.Cause, err = commandIn(cause, head); err != nil {
		return nil, err
	}
	if !r.Cause.isCause(cause.index, v.Denial.Cause) {
		return nil, Refusal("other_leaf")
	}
	return r, r.Cause.Signed.verify(head.Ledger)
}

func parseKnowledgeProof(file []byte) (*KnowledgeProof, error) {
	kind, m, err := readFile(file, knowledgeSizeMax)
	if err != nil || kind != KindKnowledge {
		return nil, malformed
	}
	p := &KnowledgeProof{Root: m.hash("root")}
	count := m.integer("count")
	m.bad = m.bad || count < 1 || count > itemsMax
	p.Count = uint32(count)
	if m.has("present") {
		p.Present = m.member("present").shown(m)
	} else {
		absent := m.member("absent")
		if absent.has("item") {
			p.AbsentItem = absent.member("item").item(absent)
		} else {
			p.AbsentSource = absent.text("source")
			absent.bad = absent.bad || !isName(p.AbsentSource)
		}
		if absent.has("before") {
			p.Before = absent.member("before").shown(absent)
		}
		if absent.has("after") {
			p.After = absent.member("after").shown(absent)
		}
		m.bad = m.bad || !absent.done()
	}
	if !m.done() {
		return nil, malformed
	}
	return p, nil
}

func (m *members) item(outer *members) *KnowledgeItem {
	digest := m.hash("digest")
	item := &KnowledgeItem{Source: m.text("source"), Digest: digest[:], RetrievedAtMs: m.integer("retrieved_at_ms")}
	outer.bad = outer.bad || !m.done() || !item.isWellFormed()
	return item
}

func (m *members) shown(outer *members) *ShownItem {
	s := &ShownItem{Item: m.member("item").item(m)}
	index := m.integer("index")
	s.Index = uint32(min(index, itemsMax))
	for _, hash := range m.list("path") {
		sibling := m.hashOf(hash.text)
		s.Path = append(s.Path, sibling[:])
	}
	outer.bad = outer.bad || !m.done()
	return s
}
