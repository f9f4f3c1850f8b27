package formats

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
)

// §5: heads, and what nodes state.

const headSize = 164

// Head is what the ledger is after one block.
type Head struct {
	Bytes        []byte
	Ledger       Hash
	Block        uint64
	TimeMs       uint64
	LogSize      uint64
	LogRoot      Hash
	StateRoot    Hash
	Roster       RosterID
	RulesVersion uint32
}

// Hash is the head hash.
func (h *Head) Hash() Hash { return labelled("chancery/head-hash/v1", h.Bytes) }

// RosterID is the block that brought a roster into force, and its digest.
type RosterID struct {
	Block  uint64
	Digest Hash
}

func (id RosterID) String() string { return fmt.Sprintf("%v@%d", id.Digest, id.Block) }

// reader takes fixed-size fields off the front; whoever uses it has checked the size.
type reader struct{ data []byte }

func (r *reader) take(size int) []byte {
	taken := r.data[:size]
	r.data = r.data[size:]
	return taken
}

func (r *reader) hash() Hash         { return Hash(r.take(32)) }
func (r *reader) u64() uint64        { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) u32() uint32        { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) rosterID() RosterID { return RosterID{r.u64(), r.hash()} }

func readHead(data []byte) (*Head, bool) {
	if len(data) != headSize {
		return nil, false
	}
	r := reader{data}
	return &Head{
		Bytes: data, Ledger: r.hash(), Block: r.u64(), TimeMs: r.u64(), LogSize: r.u64(), LogRoot: r.hash(),
		StateRoot: r.hash(), Roster: r.rosterID(), RulesVersion: r.u32(),
	}, true
}

// Statement is a node's signature on a head; a fresh one says besides how far its Raft log reaches.
type Statement struct {
	Bytes, Body    []byte
	Fresh          bool
	Node           uint64
	Epoch, Counter uint64
	NonceRoot      Hash
	ClockMs        uint64
	TailBlock      uint64
	TailRoster     RosterID
	Head           *Head
	KeyID          [4]byte
	Signature      []byte
}

const (
	freshSize  = 345
	headedSize = 257
)

func readStatement(data []byte) (*Statement, bool) {
	var fresh bool
	switch {
	case len(data) == freshSize && data[0] == 1:
		fresh = true
	case len(data) == headedSize && data[0] == 2:
	default:
		return nil, false
	}
	r := reader{data[1:]}
	s := &Statement{Bytes: data, Body: data[:len(data)-68], Fresh: fresh, Node: r.u64(), Epoch: r.u64(), Counter: r.u64()}
	if fresh {
		s.NonceRoot, s.ClockMs, s.TailBlock, s.TailRoster = r.hash(), r.u64(), r.u64(), r.rosterID()
	}
	s.Head, _ = readHead(r.take(headSize))
	s.KeyID = [4]byte(r.take(4))
	s.Signature = r.take(64)
	return s, true
}

// readStatements is a list as answers, links and records have it: sorted by node, no node twice, at most 62.
func readStatements(list [][]byte) ([]*Statement, bool) {
	var out []*Statement
	for _, data := range list {
		s, ok := readStatement(data)
		if !ok || len(out) > 0 && out[len(out)-1].Node >= s.Node {
			return nil, false
		}
		out = append(out, s)
	}
	return out, len(out) <= 62
}

const statementContext = "chancery/head/v1"

func keyID(voter *Voter) [4]byte {
	id := hash([]byte(voter.Name), []byte{0x0a, 0xff}, []byte(statementContext), voter.Key)
	return [4]byte(id[:4])
}

// isBy is whether a voter signed it: its key id, and then its signature, or what of the two is wrong.
func (s *Statement) isBy(voter *Voter) error {
	if s.KeyID != keyID(voter) {
		return Refusal("wrong_key")
	}
	message := append([]byte(statementContext+"\n"), s.Body...)
	if !verifySignature(voter.Key, s.Signature, message) {
		return Refusal("bad_signature")
	}
	return nil
}

// verifyEach is that of §5.2, where a voter of any of the rosters is a voter. It tells the nodes.
func verifyEach(ledger Hash, rosters []*Roster, statements []*Statement) (map[uint64]bool, error) {
	nodes := map[uint64]bool{}
	for _, s := range statements {
		voter := voterOf(rosters, s.Node)
		switch {
		case voter == nil:
			return nil, Refusal("outside_roster")
		case nodes[s.Node]:
			return nil, Refusal("twice")
		case s.Head.Ledger != ledger:
			return nil, Refusal("wrong_ledger")
		}
		if err := s.isBy(voter); err != nil {
			return nil, err
		}
		nodes[s.Node] = true
	}
	return nodes, nil
}

func voterOf(rosters []*Roster, node uint64) *Voter {
	for _, roster := range rosters {
		for _, set := range roster.Sets {
			for _, voter := range set.Voters {
				if voter.Node == node {
					return voter
				}
			}
		}
	}
	return nil
}

// haveQuorum is whether the nodes have a quorum of each of the rosters.
func haveQuorum(rosters []*Roster, nodes map[uint64]bool) bool {
	for _, roster := range rosters {
		for _, set := range roster.Sets {
			var count uint32
			for _, voter := range set.Voters {
				if nodes[voter.Node] {
					count++
				}
			}
			if count < set.Quorum {
				return false
			}
		}
	}
	return true
}

// verifyHead is step 5 of §7.1: whether a head is signed by enough, and by whom.
func (t *Trust) verifyHead(head *Head, signatures []*Statement) ([]*Voter, error) {
	voters, err := t.votersOf(head)
	if err != nil {
		return nil, under("trust", err)
	}
	nodes, err := verifyEach(head.Ledger, voters, signatures)
	if err != nil {
		return nil, under("head", err)
	}
	for _, s := range signatures {
		if !bytes.Equal(s.Head.Bytes, head.Bytes) {
			return nil, Refusal("head/other_head")
		}
	}
	if !haveQuorum(voters, nodes) {
		return nil, Refusal("head/too_few")
	}
	var signers []*Voter
	for node := range nodes {
		signers = append(signers, voterOf(voters, node))
	}
	sort.Slice(signers, func(i, j int) bool { return signers[i].Node < signers[j].Node })
	return signers, nil
}
