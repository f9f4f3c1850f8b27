package formats

import (
	"bytes"
	"strings"
)

// §3 and §5.3: who votes, and how that is proven from genesis on.

func (r *Roster) digest() Hash { return labelled("chancery/roster/v1", encode(r)) }

func (r *Roster) isJoint() bool { return len(r.Sets) == 2 }

func (s *VoterSet) isWellFormed() bool {
	if s == nil || len(s.Voters) < 1 || len(s.Voters) > 31 {
		return false
	}
	names, keys := map[string]bool{}, map[string]bool{}
	for i, v := range s.Voters {
		if v.Node == 0 || i > 0 && s.Voters[i-1].Node >= v.Node || !isVoterName(v.Name) || len(v.Key) != 32 ||
			names[v.Name] || keys[string(v.Key)] {
			return false
		}
		names[v.Name], keys[string(v.Key)] = true, true
	}
	return 2*int(s.Quorum) > len(s.Voters) && int(s.Quorum) <= len(s.Voters)
}

func isVoterName(name string) bool {
	return isName(name) && !strings.Contains(name, "+") && len(name) <= 255
}

func (r *Roster) isWellFormed() bool {
	if len(r.Sets) < 1 || len(r.Sets) > 2 {
		return false
	}
	for _, set := range r.Sets {
		if !set.isWellFormed() {
			return false
		}
	}
	if !r.isJoint() {
		return true
	}
	for _, a := range r.Sets[0].Voters {
		for _, b := range r.Sets[1].Voters {
			if (a.Node == b.Node || a.Name == b.Name || bytes.Equal(a.Key, b.Key)) && !a.equals(b) {
				return false
			}
		}
	}
	return true
}

func (v *Voter) equals(other *Voter) bool {
	return v.Node == other.Node && v.Name == other.Name && bytes.Equal(v.Key, other.Key)
}

func (s *VoterSet) equals(other *VoterSet) bool { return bytes.Equal(encode(s), encode(other)) }

func (s *VoterSet) hasVotersOf(other *VoterSet) bool {
	if len(s.Voters) != len(other.Voters) {
		return false
	}
	for i, v := range s.Voters {
		if !v.equals(other.Voters[i]) {
			return false
		}
	}
	return true
}

// provenRoster is a roster and since when it is in force.
type provenRoster struct {
	id     RosterID
	roster *Roster
}

const linksMax = 4096

// prove adds what a chain proves from the newest roster on: all of it, or nothing.
func (t *Trust) prove(chain []byte) error {
	if len(chain) > 16<<20 {
		return malformed
	}
	c, err := decode[RosterChain](chain)
	if err != nil {
		return err
	}
	proven := append([]provenRoster(nil), t.rosters...)
	if len(proven)-1+len(c.Links) > linksMax {
		return malformed
	}
	for _, link := range c.Links {
		next, err := t.follow(proven[len(proven)-1], link)
		if err != nil {
			return err
		}
		proven = append(proven, next)
	}
	if newest := proven[len(proven)-1]; newest.id.Block >= t.minimumRoster.Block && find(proven, t.minimumRoster) < 0 {
		return Refusal("not_through_minimum")
	}
	t.rosters = proven
	return nil
}

func (t *Trust) follow(proven provenRoster, link *RosterLink) (provenRoster, error) {
	none := provenRoster{}
	head, headOK := readHead(link.Head)
	statements, statementsOK := readStatements(link.Statements)
	if link.Roster == nil || !link.Roster.isWellFormed() || !headOK || !statementsOK {
		return none, malformed
	}
	next := provenRoster{RosterID{head.Block, link.Roster.digest()}, link.Roster}
	if head.Ledger != t.Ledger {
		return none, Refusal("other_ledger")
	}
	if head.Roster != next.id {
		return none, Refusal("not_named")
	}
	sets, wasJoint := proven.roster.Sets, proven.roster.isJoint()
	switch {
	case wasJoint && (head.Block == 0 || head.Block-1 != proven.id.Block):
		return none, Refusal("other_block")
	case !wasJoint && next.roster.isJoint() && head.Block <= proven.id.Block:
		return none, Refusal("other_block")
	case wasJoint && (next.roster.isJoint() || !next.roster.Sets[0].equals(sets[1])):
		return none, Refusal("other_roster")
	case !wasJoint && (!next.roster.isJoint() || !next.roster.Sets[0].equals(sets[0]) ||
		next.roster.Sets[1].hasVotersOf(next.roster.Sets[0])):
		return none, Refusal("other_roster")
	}
	both := []*Roster{proven.roster, next.roster}
	nodes, err := verifyEach(t.Ledger, both, statements)
	if err != nil {
		return none, err
	}
	for _, s := range statements {
		if !bytes.Equal(s.Head.Bytes, head.Bytes) {
			return none, Refusal("other_head")
		}
	}
	if !haveQuorum(both, nodes) {
		return none, Refusal("too_few")
	}
	return next, nil
}

func find(proven []provenRoster, id RosterID) int {
	for i, p := range proven {
		if p.id == id {
			return i
		}
	}
	return -1
}

// votersOf are the voters of a head: a quorum is one of each of the rosters.
func (t *Trust) votersOf(head *Head) ([]*Roster, error) {
	at := find(t.rosters, head.Roster)
	if at < 0 || head.Block < head.Roster.Block {
		return nil, Refusal("unknown_roster")
	}
	for _, p := range t.rosters {
		if p.id.Block > head.Roster.Block && p.id.Block <= head.Block {
			return nil, Refusal("roster_replaced")
		}
	}
	voters := []*Roster{t.rosters[at].roster}
	if head.Block == head.Roster.Block && at > 0 {
		voters = append(voters, t.rosters[at-1].roster)
	}
	return voters, nil
}

func (t *Trust) newestRoster() RosterID { return t.rosters[len(t.rosters)-1].id }
