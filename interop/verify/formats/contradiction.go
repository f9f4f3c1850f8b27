package formats

import "bytes"

// §9.1: what convicts a node.

// Conviction is of whom, and of what.
type Conviction struct {
	Voter    *Voter
	Charge   string
	Messages []*Message
}

// Message is a statement or a block that a node signed.
type Message struct {
	Statement *Statement
	Block     *Block
	bytes     []byte
}

func (m *Message) node() uint64 {
	if m.Statement != nil {
		return m.Statement.Node
	}
	return m.Block.Proposer
}

// less is the order in a file.
func (m *Message) less(other *Message) bool {
	a, b := m.Statement, other.Statement
	switch {
	case (a != nil) != (b != nil):
		return a != nil
	case a != nil && a.Epoch != b.Epoch:
		return a.Epoch < b.Epoch
	case a != nil && a.Counter != b.Counter:
		return a.Counter < b.Counter
	case a == nil && m.Block.Term != other.Block.Term:
		return m.Block.Term < other.Block.Term
	}
	return bytes.Compare(m.bytes, other.bytes) < 0
}

func (b *Block) unsigned() []byte {
	copied := *b
	copied.Signature = nil
	return encode(&copied)
}

func readBlock(data []byte) (*Block, bool) {
	if len(data) > 4_194_304 {
		return nil, false
	}
	b, err := decode[Block](data)
	if err != nil || len(b.PreviousHash) != 32 || len(b.HeadHash) != 32 || len(b.Commands) > 4096 {
		return nil, false
	}
	for _, c := range b.Commands {
		if _, ok := readSigned(c); !ok {
			return nil, false
		}
	}
	return b, b.isRosterBlock() || b.Roster == nil && len(b.Commands) > 0
}

// isRosterBlock is §11.1: a uniform one has no command, a joint one that which brought it about.
func (b *Block) isRosterBlock() bool {
	if b.Roster == nil || !b.Roster.isWellFormed() {
		return false
	}
	if !b.Roster.isJoint() {
		return len(b.Commands) == 0
	}
	if len(b.Commands) != 1 {
		return false
	}
	signed, ok := readSigned(b.Commands[0])
	return ok && signed.Command.SetRoster != nil && signed.Command.SetRoster.Voters.equals(b.Roster.Sets[1])
}

func (m *Message) isBy(voter *Voter, ledger Hash) error {
	if s := m.Statement; s != nil {
		if s.Head.Ledger != ledger {
			return Refusal("wrong_ledger")
		}
		return s.isBy(voter)
	}
	message := bytes.Join([][]byte{[]byte("chancery/block-proposal/v1"), {0}, ledger[:], m.Block.unsigned()}, nil)
	if !verifySignature(voter.Key, m.Block.Signature, message) {
		return Refusal("bad_signature")
	}
	return nil
}

// VerifyContradiction is §9.1.
func (t *Trust) VerifyContradiction(file []byte) (*Conviction, error) {
	kind, m, err := readFile(file, contradictionSizeMax)
	if err != nil || kind != KindContradiction {
		return nil, malformed
	}
	origin, ledger, rosters := m.text("origin"), m.hash("ledger"), m.optionalBytes("rosters")
	c := &Conviction{}
	for _, item := range m.list("messages") {
		inner := item.object()
		kind, signed := inner.text("kind"), inner.bytes("signed")
		message := &Message{bytes: signed}
		ok := false
		switch kind {
		case "statement":
			message.Statement, ok = readStatement(signed)
		case "block":
			message.Block, ok = readBlock(signed)
		}
		if !ok || !inner.done() {
			return nil, malformed
		}
		c.Messages = append(c.Messages, message)
	}
	if !m.done() || len(c.Messages) < 1 || len(c.Messages) > 2 || len(c.Messages) == 2 && !c.Messages[0].less(c.Messages[1]) {
		return nil, malformed
	}
	from, err := t.from(origin, ledger, rosters)
	if err != nil {
		return nil, err
	}
	node := c.Messages[0].node()
	for i, proven := range from.rosters {
		c.Voter = voterOf([]*Roster{proven.roster}, node)
		if c.Voter != nil && i < len(from.rosters)-1 {
			return nil, Refusal("other_rosters")
		}
	}
	if c.Voter == nil {
		return nil, Refusal("outside_roster")
	}
	for _, message := range c.Messages {
		if message.node() != node {
			return nil, Refusal("other_node")
		}
		if err := message.isBy(c.Voter, t.Ledger); err != nil {
			return nil, err
		}
	}
	if c.Charge = charge(c.Messages); c.Charge == "" {
		return nil, Refusal("nothing")
	}
	return c, nil
}

// charge is what the messages show, empty if nothing.
func charge(messages []*Message) string {
	a := messages[0]
	if len(messages) == 1 {
		if a.Statement == nil {
			return ""
		}
		return chargeOfOne(a.Statement)
	}
	b := messages[1]
	switch {
	case a.Statement != nil && b.Statement != nil:
		return chargeOfTwo(a.Statement, b.Statement)
	case a.Statement != nil:
		head := a.Statement.Head
		if hash := head.Hash(); b.Block.HeadBlock == head.Block && !bytes.Equal(b.Block.HeadHash, hash[:]) {
			return "head_twice"
		}
	case a.Block.Term == b.Block.Term && bytes.Equal(a.Block.PreviousHash, b.Block.PreviousHash) &&
		!bytes.Equal(a.Block.unsigned(), b.Block.unsigned()):
		return "proposal_twice"
	case a.Block.HeadBlock == b.Block.HeadBlock && !bytes.Equal(a.Block.HeadHash, b.Block.HeadHash):
		return "head_twice"
	}
	return ""
}

func chargeOfOne(s *Statement) string {
	h := s.Head
	switch {
	case h.Roster.Block > h.Block || s.Fresh && s.TailRoster.Block > s.TailBlock:
		return "roster_ahead"
	case s.Fresh && s.TailBlock < h.Block:
		return "tail_below_head"
	case s.Fresh && s.TailRoster != h.Roster && s.TailRoster.Block <= h.Block:
		return "roster_below_head"
	}
	return ""
}

// chargeOfTwo is of statements in the order of their numbers.
func chargeOfTwo(earlier, later *Statement) string {
	if earlier.Epoch == later.Epoch && earlier.Counter == later.Counter {
		if bytes.Equal(earlier.Body, later.Body) {
			return ""
		}
		return "number_twice"
	}
	a, b := earlier.Head, later.Head
	if a.Block > b.Block {
		a, b = b, a
	}
	if a.Block == b.Block {
		if !bytes.Equal(a.Bytes, b.Bytes) {
			return "head_twice"
		}
	} else {
		withBlockOfB := bytes.Join([][]byte{a.Bytes[:32], b.Bytes[32:40], a.Bytes[40:]}, nil)
		switch {
		case a.LogSize > b.LogSize:
			return "log_shrank"
		case a.LogSize == b.LogSize && !bytes.Equal(withBlockOfB, b.Bytes):
			return "size_twice"
		case a.LogSize < b.LogSize && a.TimeMs > b.TimeMs:
			return "time_fell"
		case a.LogSize < b.LogSize && b.Roster != a.Roster && b.Roster.Block <= a.Block:
			return "roster_rewritten"
		}
	}
	switch h := earlier.Head; {
	case later.Fresh && later.TailBlock < h.Block:
		return "tail_below_head"
	case later.Fresh && later.TailRoster != h.Roster && later.TailRoster.Block <= h.Block:
		return "roster_below_head"
	}
	return ""
}
