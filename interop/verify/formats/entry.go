package formats

import "math"

// §4: the leaves of the log.

// Leaf is a command's entry, well-formed.
type Leaf struct {
	*CommandEntry
	Signed *Signed
}

// readEntry is either a command's entry, or a state's.
func readEntry(data []byte) (*Leaf, *StateEntry, error) {
	if len(data) > math.MaxUint16 {
		return nil, nil, Refusal("entry")
	}
	e, err := decode[Entry](data)
	if err != nil {
		return nil, nil, Refusal("entry")
	}
	if s := e.State; s != nil {
		if len(s.StateRoot) != 32 || len(s.RosterDigest) != 32 {
			return nil, nil, Refusal("entry")
		}
		return nil, s, nil
	}
	if e.Command == nil {
		return nil, nil, Refusal("entry")
	}
	signed, ok := readSigned(e.Command.Signed)
	if !ok || (e.Command.Verdict != nil) != (signed.Command.Authorize != nil) ||
		e.Command.Verdict != nil && !e.Command.Verdict.isWellFormed() {
		return nil, nil, Refusal("entry")
	}
	return &Leaf{e.Command, signed}, nil, nil
}

func (v *Verdict) isWellFormed() bool {
	if v.Number == 0 {
		return false
	}
	if v.Permit != nil {
		return v.Permit.isWellFormed()
	}
	return v.Denial != nil && v.Denial.isWellFormed()
}

func (p *Permit) isWellFormed() bool {
	if len(p.Chain) < 1 || len(p.Chain) > 9 || len(p.Bounds) > 72 {
		return false
	}
	for _, ref := range p.Chain {
		if !ref.isWellFormed() {
			return false
		}
	}
	for _, b := range p.Bounds {
		if !b.Grant.isWellFormed() || !isIdentifier(b.Name) {
			return false
		}
	}
	return p.Generation == nil || len(p.Generation.ID) == 32
}

func (c *Cause) isWellFormed() bool { return c != nil && len(c.Signer) == 32 }

// The fields that a denial has beside its code, and no others.
type denialFields struct {
	cause, grant, agent, time, bound, knowledge, condition, halted, lineage, generation, outside bool
}

var denials = map[string]denialFields{
	"halted":                  {cause: true, halted: true},
	"unknown_agent":           {},
	"retired":                 {cause: true, agent: true},
	"unregistered_generation": {lineage: true},
	"superseded_generation":   {cause: true, lineage: true, generation: true},
	"quarantined_generation":  {cause: true, lineage: true, generation: true},
	"lineage_constraint":      {cause: true, lineage: true, outside: true},
	"revoked":                 {cause: true, grant: true},
	"all_revoked":             {cause: true, agent: true},
	"bound_exhausted":         {grant: true, bound: true},
	"knowledge_missing":       {grant: true, knowledge: true},
	"condition_failed":        {grant: true, condition: true},
	"ended":                   {time: true},
	"not_begun":               {time: true},
	"no_grant":                {},
}

func (d *Denial) isWellFormed() bool {
	has, known := denials[d.Code]
	return known &&
		(d.Cause != nil) == has.cause && (d.Cause == nil || d.Cause.isWellFormed()) &&
		(d.Grant != nil) == has.grant && (d.Grant == nil || d.Grant.isWellFormed()) &&
		(d.Agent != "") == has.agent && (d.Agent == "" || isName(d.Agent)) &&
		(has.time || d.TimeMs == 0) &&
		(d.Bound != nil) == has.bound && (d.Bound == nil || isIdentifier(d.Bound.Name)) &&
		(d.Knowledge != nil) == has.knowledge && (d.Knowledge == nil || d.Knowledge.isWellFormed()) &&
		(d.Condition != nil) == has.condition && (d.Condition == nil || d.Condition.isWellFormed()) &&
		(d.Halted != nil) == has.halted && (d.Halted == nil || d.Halted.isWellFormed()) &&
		(has.halted || d.Reason == "") && isReason(d.Reason) &&
		(d.Lineage != "") == has.lineage && (d.Lineage == "" || isName(d.Lineage)) &&
		(has.generation || d.Generation == 0) &&
		(d.Outside == "action" || d.Outside == "resource") == has.outside && (has.outside || d.Outside == "")
}

func (k *MissingKnowledge) isWellFormed() bool {
	return isTemplate(k.Template) && (k.Source == "" || isName(k.Source))
}

var conditionReasons = map[string]bool{
	"arguments_undisclosed": false, "arguments_too_large": false, "arguments_other_digest": false,
	"arguments_not_json": false, "arguments_duplicate_name": false, "arguments_number": false,
	"arguments_too_deep": false, "arguments_not_an_object": false, "arguments_not_canonical": false,
	"policy_error": true, "forbidden": true, "not_permitted": false,
}

func (f *FailedCondition) isWellFormed() bool {
	names, known := conditionReasons[f.Reason]
	for i, policy := range f.Policies {
		if policy >= 1<<16 || i > 0 && f.Policies[i-1] >= policy {
			return false
		}
	}
	return known && (len(f.Policies) > 0) == names
}

// provenLeaf is whether an entry is at an index of the log of a head.
func provenLeaf(entry []byte, index uint64, proof []Hash, head *Head) bool {
	root, ok := rootOf(leafHash(entry), index, head.LogSize, proof)
	return ok && root == head.LogRoot
}
