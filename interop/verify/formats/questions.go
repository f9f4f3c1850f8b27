package formats

// §9.4 and §9.5: by when something was recorded, and that no permit was.

const noPermitSizeMax = 67_112_960

// The formats.
const (
	KindRecordedBy Kind = "chancery-recorded-by/v1"
	KindNoPermit   Kind = "chancery-no-permit/v1"
)

// RecordedBy is what a file shows of a command that took effect by a time.
type RecordedBy struct {
	Index uint64
	Leaf  *Leaf
	// The last leaf of the checkpoint.
	State *StateEntry
	// In milliseconds: enough had cosigned.
	ByMs uint64
	// Of the nodes the voters, by node.
	Nodes     []*Voter
	Witnesses []string
	// The second of each node's cosignature.
	TimesS map[uint64]uint64
}

// VerifyRecordedBy is §9.4.
func (t *Trust) VerifyRecordedBy(file []byte) (*RecordedBy, error) {
	kind, m, err := readFile(file, evidenceSizeMax)
	if err != nil || kind != KindRecordedBy {
		return nil, malformed
	}
	origin, ledger, rosters := m.text("origin"), m.hash("ledger"), m.optionalBytes("rosters")
	leaf, last := m.leaf("leaf"), m.leaf("state")
	note := m.text("checkpoint")
	if !m.done() {
		return nil, malformed
	}
	c, err := ReadCheckpoint([]byte(note))
	if err != nil {
		return nil, err
	}
	// As much of a head as leaves are proven in.
	log := &Head{LogSize: c.Size, LogRoot: c.Root}
	if !provenLeaf(last.entry, last.index, last.proof, log) {
		return nil, Refusal("inclusion")
	}
	_, state, err := readEntry(last.entry)
	if err != nil {
		return nil, err
	}
	if state == nil || last.index != c.Size-1 {
		return nil, Refusal("not_the_state")
	}
	named := RosterID{state.RosterBlock, Hash(state.RosterDigest)}
	from, newest, err := t.knowing(origin, ledger, rosters)
	if err != nil {
		return nil, err
	}
	if newest != named {
		return nil, Refusal("other_rosters")
	}
	voters, err := from.votersOf(&Head{Block: state.Block, Roster: named})
	if err != nil {
		return nil, under("trust", err)
	}
	// Those before them signed the head that brought the roster, not the checkpoint.
	voters = voters[:1]
	cosigned, err := from.VerifyCheckpoint(c, voters[0].Sets)
	if err != nil {
		return nil, under("checkpoint", err)
	}
	r := &RecordedBy{Index: leaf.index, State: state, ByMs: (cosigned.EnoughByS + 1) * 1000, Witnesses: cosigned.Witnesses,
		TimesS: map[uint64]uint64{}}
	for _, node := range cosigned.Nodes {
		voter := voterOf(voters, node)
		r.Nodes = append(r.Nodes, voter)
		// It was verified.
		r.TimesS[node], _ = c.timeOf(voter.cosigner(t.Origin))
	}
	if r.Leaf, err = commandIn(leaf, log); err != nil {
		return nil, err
	}
	return r, r.Leaf.Signed.verify(t.Ledger)
}

// NoPermit is what a file shows of an agent for which no permit was recorded.
type NoPermit struct {
	Agent string
	// Permits before, and denials between.
	Permits, Denials uint64
	From, To         Counted
}

// Counted is one end.
type Counted struct {
	Block, TimeMs uint64
	*Evidence
}

// VerifyNoPermit is §9.5.
func (t *Trust) VerifyNoPermit(file []byte) (*NoPermit, error) {
	kind, m, err := readFile(file, noPermitSizeMax)
	if err != nil || kind != KindNoPermit {
		return nil, malformed
	}
	var files [2]*evidenceFile
	for i, name := range []string{"from", "to"} {
		inner := m.member(name)
		isEvidence := Kind(inner.text("format")) == KindEvidence
		f, ok := readEvidence(inner)
		if !isEvidence || !ok {
			return nil, malformed
		}
		files[i] = f
	}
	if !m.done() {
		return nil, malformed
	}
	if files[0].Request.Agent != files[1].Request.Agent {
		return nil, Refusal("other_agent")
	}
	var ends [2]Counted
	for i, name := range []string{"from", "to"} {
		other := files[1-i]
		known, _, err := t.knowing(other.origin, other.ledger, other.rosters)
		if err != nil {
			return nil, under([]string{"to", "from"}[i], err)
		}
		e, err := known.verifyEvidence(files[i])
		if err != nil {
			return nil, under(name, err)
		}
		ends[i] = counted(e)
	}
	from, to := ends[0], ends[1]
	if from.Block > to.Block || from.TimeMs > to.TimeMs {
		return nil, Refusal("order")
	}
	before, after := from.recorded(), to.recorded()
	switch {
	case after.Permits < before.Permits || after.Decisions < before.Decisions:
		return nil, Refusal("fell")
	case after.Permits > before.Permits:
		return nil, Refusal("permitted")
	}
	return &NoPermit{Agent: to.Request.Agent, Permits: after.Permits, Denials: after.Decisions - before.Decisions,
		From: from, To: to}, nil
}

func counted(e *Evidence) Counted {
	switch e.Asked {
	case "at_block":
		return Counted{e.Moment.Value, e.LowMs, e}
	case "at_time":
		return Counted{e.State.Block, e.LowMs, e}
	}
	return Counted{e.Head.Block, e.Head.TimeMs, e}
}

func (c Counted) recorded() AgentRecord {
	if c.Agent == nil {
		return AgentRecord{}
	}
	return *c.Agent
}
