package formats

import (
	"bytes"
	"math"
)

// §6.2 and §6.3: what stands at which place of the state tree.

func keyOf(kind string, anchor, id []byte) Hash {
	where := hash(anchor)
	what := hash([]byte(kind), []byte{0}, anchor, id)
	key := Hash(append(where[:8:8], what[:24]...))
	key[0] = key[0]&0x3f | anchorBits(kind, id)<<6
	key[8] = key[8]&0x3f | shownBits(kind)<<6
	return key
}

// anchorBits are bits 0 and 1 of a key: what its anchor is.
func anchorBits(kind string, id []byte) byte {
	switch kind {
	case "principal":
		return 0b01
	case "agent", "page", "decision", "lineage", "generation":
		return 0b10
	case "grant", "locator", "tombstone":
		return 0b11
	case "meter":
		// By whom it is shared, which is the second byte of its id (§6.3).
		if len(id) > 1 && 1 <= id[1] && id[1] <= 3 {
			return 4 - id[1]
		}
	}
	return 0b00
}

// shownBits are bits 64 and 65: by which decisions such a record is shown.
func shownBits(kind string) byte {
	switch kind {
	case "page", "generation", "halt":
		return 0b01
	case "decision", "locator", "tombstone":
		return 0b10
	}
	return 0b00
}

// readRecord reads the record at a place; one that may not stand there is an error.
func readRecord(value []byte, kind string, anchor, id []byte) (*Record, error) {
	if len(value) > math.MaxUint16 {
		return nil, undecided
	}
	r, err := decode[Record](value)
	if err != nil || r.Kind != kind || !bytes.Equal(r.Anchor, anchor) || !bytes.Equal(r.ID, id) || !r.isWellFormed() {
		return nil, undecided
	}
	return r, nil
}

// get is the record at a place, nil if there is none.
func (p *Pruned) get(kind string, anchor, id []byte) (*Record, error) {
	value, err := p.Get(keyOf(kind, anchor, id))
	if value == nil || err != nil {
		return nil, err
	}
	return readRecord(value, kind, anchor, id)
}

func isCauseOrNone(c *Cause) bool { return c == nil || c.isWellFormed() }

func (r *Record) isWellFormed() bool {
	switch r.Kind {
	case "ledger":
		l := r.Ledger
		return l != nil && l.Limits != nil && l.Limits.isWellFormed() && l.Roster != nil && l.Roster.isWellFormed()
	case "principal":
		p := r.Principal
		return p != nil && isName(p.Name) && areRoles(p.Roles) && p.Scope.isWellFormed() && p.Added.isWellFormed() &&
			isCauseOrNone(p.Ended) && isHashOrNone(p.Successor)
	case "agent":
		a := r.Agent
		return a != nil && isName(a.Owner) && isName(a.Lineage) && isHashOrNone(a.Key) &&
			isCauseOrNone(a.Retired) && isCauseOrNone(a.EpochBegan)
	case "page":
		if r.Page == nil || len(r.Page.Grants) > 32 {
			return false
		}
		for _, ref := range r.Page.Grants {
			if !ref.isWellFormed() {
				return false
			}
		}
		return true
	case "grant":
		g := r.Grant
		return g != nil && g.Terms.isWellFormed() && isHashOrNone(g.Parent) && g.Granted.isWellFormed() &&
			isCauseOrNone(g.Revoked)
	case "locator":
		return r.Locator != nil && len(r.Locator.Root) == 32
	case "tombstone":
		return r.Tombstone != nil && r.Tombstone.Revoked.isWellFormed()
	case "decision":
		return r.Decision.isWellFormed()
	case "dedup":
		return r.DedupBucket != nil && len(r.DedupBucket.Hash) == 32
	case "halts":
		if r.Halts == nil {
			return false
		}
		for i, h := range r.Halts.Active {
			if !h.Scope.isWellFormed() || i > 0 && r.Halts.Active[i-1].Index >= h.Index {
				return false
			}
		}
		return true
	case "halt":
		return r.Halt.isWellFormed()
	case "lineage":
		return r.Lineage.isWellFormed()
	case "generation":
		g := r.Generation
		return g != nil && isHashOrNone(g.Parent) && len(g.Model) == 32 && len(g.Prompt) == 32 && len(g.Tools) == 32 &&
			len(g.Parameters) == 32 && len(g.Memory) == 32 && g.Registered.isWellFormed() && isCauseOrNone(g.Released)
	case "voter", "voter_name", "voter_key":
		if r.Voter == nil || r.Voter.Voter == nil || !r.Voter.Added.isWellFormed() {
			return false
		}
		v := r.Voter.Voter
		return v.Node != 0 && isVoterName(v.Name) && len(v.Key) == 32
	case "meter":
		return r.Meter.isWellFormed()
	}
	return false
}

func (d *DecisionRecord) isWellFormed() bool {
	if d == nil || len(d.ID) != 32 || !d.Decided.isWellFormed() || len(d.Outcomes) > 3 || len(d.Spends) > 72 {
		return false
	}
	for _, o := range d.Outcomes {
		if o.Kind < 1 || o.Kind > 4 || !isHashOrNone(o.ResultDigest) || !o.Recorded.isWellFormed() {
			return false
		}
	}
	return true
}

func (h *HaltRecord) isWellFormed() bool {
	if h == nil || !h.Scope.isWellFormed() || !isReason(h.Reason) || !h.Cause.isWellFormed() || len(h.Command) != 32 ||
		!isCauseOrNone(h.Ended) {
		return false
	}
	for _, c := range h.Resumed {
		if !c.isWellFormed() {
			return false
		}
	}
	return true
}

func (l *LineageRecord) isWellFormed() bool {
	if l == nil || !l.Policy.isWellFormed() || !l.Constraints.isWellFormed() || len(l.InService) > 8 ||
		!isCauseOrNone(l.Set) || !isCauseOrNone(l.Moved) {
		return false
	}
	for i, g := range l.InService {
		if len(g.ID) != 32 || i > 0 && l.InService[i-1].Number >= g.Number {
			return false
		}
	}
	return true
}

func (m *MeterRecord) isWellFormed() bool {
	switch {
	case m == nil:
		return false
	case m.Total != nil:
		return true
	case m.Times != nil:
		for i, t := range m.Times.TimesMs {
			if i > 0 && m.Times.TimesMs[i-1] > t {
				return false
			}
		}
		return true
	case m.Slots != nil:
		for i, s := range m.Slots.Slots {
			if len(s.Decision) != 16 {
				return false
			}
			if i == 0 {
				continue
			}
			last := m.Slots.Slots[i-1]
			if last.EndsMs > s.EndsMs || last.EndsMs == s.EndsMs && bytes.Compare(last.Decision, s.Decision) >= 0 {
				return false
			}
		}
		return true
	}
	return false
}

// meterPlace is the anchor and the id of a bound's meter.
func meterPlace(b *Bound, ref *GrantRef, agent string) (anchor, id []byte) {
	var kind, per byte
	var window uint64
	var argument string
	grant := make([]byte, 32)
	switch {
	case b.Count != nil:
		kind = 1
	case b.Sum != nil:
		kind, argument = 2, b.Sum.Argument
	case b.Rate != nil:
		kind, window = 3, b.Rate.WindowMs
	default:
		kind = 4
	}
	switch {
	case b.Grant != nil:
		per, anchor, grant = 1, ref.Root, ref.Grant
	case b.Agent != nil:
		per, anchor = 2, []byte(agent)
	default:
		per, anchor = 3, []byte(*b.Key)
	}
	return anchor, bytes.Join([][]byte{
		{kind, per}, u64(window), grant, {byte(len(argument))}, []byte(argument), []byte(b.Name),
	}, nil)
}

// used is what a meter says at a time; an error if it is of another kind of bound.
func (b *Bound) used(m *MeterRecord, at uint64) (uint64, error) {
	switch {
	case m == nil:
		return 0, nil
	case (b.Count != nil || b.Sum != nil) && m.Total != nil:
		return *m.Total, nil
	case b.Rate != nil && m.Times != nil:
		var count uint64
		for _, t := range m.Times.TimesMs {
			if t > at || at-t < b.Rate.WindowMs {
				count++
			}
		}
		return count, nil
	case b.Concurrency != nil && m.Slots != nil:
		var count uint64
		for _, s := range m.Slots.Slots {
			if s.EndsMs > at {
				count++
			}
		}
		return count, nil
	}
	return 0, undecided
}
