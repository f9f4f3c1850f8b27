package formats

import (
	"bytes"
	"crypto/sha256"
	"math/bits"
)

// §9.7: two checkpoints that no one log has, and who cosigned both.

// KindEquivocation is the format.
const KindEquivocation Kind = "chancery-equivocation/v1"

const equivocationSizeMax = 25_165_824

// Equivocation is what a file shows: all of Nodes cosigned both checkpoints, the lesser first.
type Equivocation struct {
	Checkpoints [2]*Checkpoint
	Nodes       []*Voter
	// When each cosigned the one and the other, in seconds, by its own clock.
	TimesS [][2]uint64
}

// VerifyEquivocation is §9.7.
func (t *Trust) VerifyEquivocation(file []byte) (*Equivocation, error) {
	kind, m, err := readFile(file, equivocationSizeMax)
	if err != nil || kind != KindEquivocation {
		return nil, malformed
	}
	origin, ledger, rosters := m.text("origin"), m.hash("ledger"), m.optionalBytes("rosters")
	notes := m.list("checkpoints")
	forked := m.has("fork")
	var root Hash
	var proof []Hash
	if forked {
		fork := m.member("fork")
		root = fork.hash("root")
		items := fork.list("proof")
		for _, item := range items {
			proof = append(proof, fork.hashOf(item.text))
			m.bad = m.bad || item.kind != jsonText
		}
		m.bad = m.bad || !fork.done() || len(items) > proofHashesMax
	}
	if !m.done() || len(notes) != 2 {
		return nil, malformed
	}
	e := &Equivocation{}
	for i, note := range notes {
		if note.kind != jsonText {
			return nil, malformed
		}
		if e.Checkpoints[i], err = ReadCheckpoint([]byte(note.text)); err != nil {
			return nil, err
		}
	}
	first, second := e.Checkpoints[0], e.Checkpoints[1]
	if origin != t.Origin || first.Origin != t.Origin || second.Origin != t.Origin {
		return nil, otherOrigin
	}
	if ledger != t.Ledger {
		return nil, Refusal("other_ledger")
	}
	if err := contradict(first, second, forked, root, proof); err != nil {
		return nil, err
	}
	from, err := t.from(origin, ledger, rosters)
	if err != nil {
		return nil, err
	}
	times, err := from.signers(first)
	if err != nil {
		return nil, err
	}
	others, err := from.signers(second)
	if err != nil {
		return nil, err
	}
	if len(times) != len(others) {
		return nil, Refusal("other_signers")
	}
	needed := 0
	for i, by := range times {
		if by.voter != others[i].voter {
			return nil, Refusal("other_signers")
		}
		needed = max(needed, by.since)
		e.Nodes = append(e.Nodes, by.voter)
		e.TimesS = append(e.TimesS, [2]uint64{by.timeS, others[i].timeS})
	}
	if needed != len(from.rosters)-1 {
		return nil, Refusal("surplus_rosters")
	}
	return e, nil
}

// contradict is that no one log has both.
func contradict(first, second *Checkpoint, forked bool, root Hash, proof []Hash) error {
	switch {
	case !forked && first.Size == second.Size && bytes.Compare(first.Root[:], second.Root[:]) < 0:
		return nil
	case forked && first.Size < second.Size:
		if !extends(first.Size, root, second.Size, second.Root, proof) {
			return Refusal("proof")
		}
		if root != first.Root {
			return nil
		}
	}
	return Refusal("consistent")
}

// extends is RFC 9162 §2.1.4.2, with a proof of its exact length.
func extends(old uint64, oldRoot Hash, size uint64, root Hash, proof []Hash) bool {
	if old == 0 {
		return len(proof) == 0 && oldRoot == Hash(sha256.Sum256(nil))
	}
	// The complete subtree that the old tree ends with is known by the old root itself, if it is all of it.
	if bits.OnesCount64(old) == 1 {
		proof = append([]Hash{oldRoot}, proof...)
	}
	if len(proof) == 0 {
		return false
	}
	fn, sn := old-1, size-1
	for fn&1 == 1 {
		fn, sn = fn>>1, sn>>1
	}
	from, to := proof[0], proof[0]
	for _, hash := range proof[1:] {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			from, to = nodeHash(hash, from), nodeHash(hash, to)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			to = nodeHash(to, hash)
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && from == oldRoot && to == root
}

type signer struct {
	voter *Voter
	timeS uint64
	// Links of the chain until there was such a voter.
	since int
}

// signers has the voter of each line, in ascending order.
func (t *Trust) signers(c *Checkpoint) ([]signer, error) {
	var all []signer
	for _, line := range c.lines {
		by := signer{}
		for since, proven := range t.rosters {
			for _, set := range proven.roster.Sets {
				for _, voter := range set.Voters {
					key := voter.cosigner(t.Origin)
					if by.voter == nil && key.Name == line.name && noteKeyID(key.Name, cosignature, key.Key) == line.id {
						by.voter, by.since = voter, since
					}
				}
			}
		}
		if by.voter == nil || len(all) > 0 && all[len(all)-1].voter.Node >= by.voter.Node {
			return nil, Refusal("other_signers")
		}
		at, err := c.timeOf(by.voter.cosigner(t.Origin))
		if err != nil {
			return nil, err
		}
		by.timeS = at
		all = append(all, by)
	}
	return all, nil
}
