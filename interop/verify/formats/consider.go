package formats

import (
	"bytes"
	"math"
)

// §8, `consider`: what one grant comes to.

const chainMax = 9

type link struct {
	ref    *GrantRef
	grant  *GrantRecord
	agent  *AgentRecord
	meters []*MeterRecord // of its bounds
}

func (d *decider) grantsIt(terms *Terms) bool {
	return matchesAny(terms.Actions, d.request.Action) && matchesAny(terms.Resources, d.request.Resource)
}

// consider tells all that it may come to: one, but for conditions.
func (d *decider) consider(ref *GrantRef, grant *GrantRecord) ([]*Decision, error) {
	if grant.Terms.Agent != d.request.Agent || !d.grantsIt(grant.Terms) {
		return denied(&Denial{Code: "no_grant"}), nil
	}
	chain, err := d.chainOf(ref, grant)
	if err != nil {
		return nil, err
	}
	for _, link := range chain {
		if !d.grantsIt(link.grant.Terms) {
			return denied(&Denial{Code: "no_grant"}), nil
		}
	}
	if told, err := d.inForce(chain); told != nil || err != nil {
		return denied(told), err
	}
	end, begin := uint64(math.MaxUint64), uint64(0)
	for _, link := range chain {
		end, begin = min(end, link.grant.Terms.NotAfterMs), max(begin, link.grant.Terms.NotBeforeMs)
	}
	switch {
	case d.high >= end:
		return denied(&Denial{Code: "ended", TimeMs: end}), nil
	case d.low < begin:
		return denied(&Denial{Code: "not_begun", TimeMs: begin}), nil
	}
	if told, err := d.haltedIn(chain); told != nil || err != nil {
		return denied(told), err
	}
	staleness, told, err := d.stalenessOf(chain)
	if told != nil || err != nil {
		return denied(told), err
	}
	for i := range chain {
		if err := d.readMeters(&chain[i]); err != nil {
			return nil, err
		}
	}
	permit := &PermitDecision{Generation: d.generation, MaxStalenessMs: staleness, NotAfterMs: end}
	return d.conditions(chain, permit)
}

func (d *decider) chainOf(ref *GrantRef, grant *GrantRecord) ([]link, error) {
	chain := []link{{ref: ref, grant: grant}}
	for len(chain) < chainMax && len(grant.Parent) > 0 {
		parent := &GrantRef{Grant: grant.Parent, Root: ref.Root}
		record, err := d.must("grant", parent.Root, parent.Grant)
		if err != nil {
			return nil, err
		}
		grant = record.Grant
		chain = append(chain, link{ref: parent, grant: grant})
	}
	if len(grant.Parent) > 0 || !bytes.Equal(chain[len(chain)-1].ref.Grant, ref.Root) {
		return nil, undecided
	}
	return chain, nil
}

// inForce reads the agent of each link, until one is void.
func (d *decider) inForce(chain []link) (*Denial, error) {
	for i := range chain {
		link := &chain[i]
		if link.grant.Revoked != nil {
			return &Denial{Code: "revoked", Grant: link.ref, Cause: link.grant.Revoked}, nil
		}
		name := link.grant.Terms.Agent
		record, err := d.must("agent", []byte(name), nil)
		if err != nil {
			return nil, err
		}
		link.agent = record.Agent
		switch {
		case link.agent.Retired != nil:
			return &Denial{Code: "retired", Agent: name, Cause: link.agent.Retired}, nil
		case link.agent.Epoch == link.grant.Epoch:
		case link.agent.EpochBegan == nil:
			return nil, undecided
		default:
			return &Denial{Code: "all_revoked", Agent: name, Cause: link.agent.EpochBegan}, nil
		}
	}
	return nil, nil
}

func (d *decider) haltedIn(chain []link) (*Denial, error) {
	var last *ActiveHalt
	for _, h := range d.halts {
		for _, link := range chain {
			if h.Scope.Subtree != nil && bytes.Equal(h.Scope.Subtree, link.ref.Grant) ||
				h.Scope.stops(link.grant.Terms.Agent, link.agent.Lineage) {
				last = h
			}
		}
	}
	if last == nil {
		return nil, nil
	}
	return d.halted(last)
}

func (d *decider) stalenessOf(chain []link) (uint64, *Denial, error) {
	staleness := uint64(math.MaxUint64)
	for _, link := range chain {
		staleness = min(staleness, link.grant.Terms.MaxStalenessMs)
	}
	constrain := func(l *LineageRecord) {
		if l != nil && l.Constraints.MaxStalenessMs != 0 {
			staleness = min(staleness, l.Constraints.MaxStalenessMs)
		}
	}
	constrain(d.lineage)
	for _, link := range chain[1:] {
		l, err := d.lineageOf(link.agent)
		if err != nil {
			return 0, nil, err
		}
		if told, err := d.forbidden(link.agent.Lineage, l); told != nil || err != nil {
			return 0, told, err
		}
		constrain(l)
	}
	return staleness, nil, nil
}

func (d *decider) readMeters(l *link) error {
	for _, b := range l.grant.Terms.Bounds {
		anchor, id := meterPlace(b, l.ref, l.grant.Terms.Agent)
		record, err := d.tree.get("meter", anchor, id)
		if err != nil {
			return err
		}
		var meter *MeterRecord
		if record != nil {
			meter = record.Meter
		}
		if _, err := b.used(meter, d.low); err != nil {
			return err
		}
		l.meters = append(l.meters, meter)
	}
	return nil
}

// conditions is what is left of `consider` when all was read.
func (d *decider) conditions(chain []link, permit *PermitDecision) ([]*Decision, error) {
	var outcomes []*Decision
	var assumes []Assumption
	with := func(denial *Denial) []*Decision {
		return append(outcomes, &Decision{Denial: denial, Assumes: assumes[:len(assumes):len(assumes)]})
	}
	for i := range chain {
		link := &chain[i]
		permit.Chain = append(permit.Chain, link.ref)
		for _, k := range link.grant.Terms.Knowledge {
			if missing := d.missing(k); missing != nil {
				return with(&Denial{Code: "knowledge_missing", Grant: link.ref, Knowledge: missing}), nil
			}
		}
		if link.grant.Terms.Condition != "" {
			failed := &Denial{Code: "condition_failed", Grant: link.ref}
			if err := d.hasContext(link); err != nil {
				return nil, err
			}
			if fault := d.request.argumentsFault; fault != "" {
				failed.Condition = &FailedCondition{Reason: fault}
				return with(failed), nil
			}
			failed.Condition = &FailedCondition{Reason: NotExecuted}
			before := assumes[:len(assumes):len(assumes)]
			assumes = append(before, Assumption{link.ref, false})
			outcomes = with(failed)
			assumes = append(before, Assumption{link.ref, true})
		}
		for j, b := range link.grant.Terms.Bounds {
			used, err := b.used(link.meters[j], d.low)
			if err != nil {
				return nil, err
			}
			anchor, id := meterPlace(b, link.ref, link.grant.Terms.Agent)
			wanted, known := uint64(1), true
			if b.Sum != nil {
				wanted, known = d.request.amount(b.Sum.Argument)
			}
			if !known || used > b.Limit || wanted > b.Limit-used {
				exhausted := &ExhaustedBound{Name: b.Name, Limit: b.Limit, Used: used}
				if known {
					exhausted.Wanted = &wanted
				}
				return with(&Denial{Code: "bound_exhausted", Grant: link.ref, Bound: exhausted}), nil
			}
			meter := keyOf("meter", anchor, id)
			permit.Bounds = append(permit.Bounds, BoundState{link.ref, b, meter, used, wanted})
		}
	}
	return append(outcomes, &Decision{Permit: permit, Assumes: assumes}), nil
}

// missing is what of a requirement is not met, if it is not.
func (d *decider) missing(k *KnowledgeRequirement) *MissingKnowledge {
	m := &MissingKnowledge{Template: k.Source, MaxAgeMs: k.MaxAgeMs}
	source, ok := d.request.fill(k.Source)
	if !ok {
		return m
	}
	m.Source = source
	if d.request.Knowledge != nil {
		for _, shown := range d.request.Knowledge.Shown {
			at := shown.Item.RetrievedAtMs
			if shown.Item.Source == source && at <= d.high && (m.RetrievedAtMs == nil || *m.RetrievedAtMs < at) {
				m.RetrievedAtMs = &at
			}
		}
	}
	if m.RetrievedAtMs == nil || d.high-*m.RetrievedAtMs > k.MaxAgeMs {
		return m
	}
	return nil
}

// hasContext is an error if a number that the condition is shown is none of Cedar's (§8.3). What it is shown at `low` is
// one if that at `high` is.
func (d *decider) hasContext(l *link) error {
	numbers := []uint64{d.agent.Decisions, d.agent.Permits}
	if d.generation != nil {
		numbers = append(numbers, d.generation.Number)
	}
	for i, b := range l.grant.Terms.Bounds {
		used, err := b.used(l.meters[i], d.high)
		if err != nil {
			return err
		}
		numbers = append(numbers, b.Limit, used)
	}
	ages := map[string]uint64{}
	if d.request.Knowledge != nil {
		for _, shown := range d.request.Knowledge.Shown {
			if at := shown.Item.RetrievedAtMs; at <= d.high {
				source := shown.Item.Source
				if age, older := ages[source]; !older || d.high-at < age {
					ages[source] = d.high - at
				}
			}
		}
	}
	for _, age := range ages {
		numbers = append(numbers, age)
	}
	for _, number := range numbers {
		if number > math.MaxInt64 {
			return undecided
		}
	}
	return nil
}
