package main

import (
	"fmt"
	"strings"
	"time"

	"chancery/interop/verify/formats"
)

// report is for people: what is claimed, who signed it, and what it does not show.
type report struct {
	exit    int
	outcome string
	lines   []string
}

func (r *report) add(what, format string, values ...any) {
	r.lines = append(r.lines, fmt.Sprintf("  %-11s", what)+fmt.Sprintf(format, values...))
}

func (r *report) notShown(texts ...string) {
	what := "not shown"
	for _, text := range texts {
		r.add(what, "%s", text)
		what = ""
	}
}

func (r *report) text(name string) string {
	return quoted(name) + ": " + strings.Join(append([]string{r.outcome}, r.lines...), "\n") + "\n"
}

// quoted is a text as it is, unless it has what a terminal would take for more.
func quoted(text string) string {
	if escaped := fmt.Sprintf("%q", text); escaped != `"`+text+`"` {
		return escaped
	}
	return text
}

func invalid(err error) *report {
	return &report{exit: exitInvalid, outcome: "INVALID: " + err.Error()}
}

func at(ms uint64) string {
	if ms >= 1<<48 {
		return fmt.Sprintf("%d ms", ms)
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02 15:04:05.000 UTC")
}

func names(voters []*formats.Voter) string {
	var out []string
	for _, v := range voters {
		out = append(out, v.Name)
	}
	return strings.Join(out, ", ")
}

func (r *report) addCause(leaf *formats.Leaf) {
	if leaf == nil {
		return
	}
	r.add("cause", "%s, signed by %x", describe(leaf.Signed.Command), leaf.Signed.Command.Signer)
	r.add("", "in block %d at %s", leaf.Block, at(leaf.TimeMs))
}

func ofEvidence(trust *formats.Trust, e *formats.Evidence) *report {
	r := &report{outcome: "verified"}
	q := e.Request
	r.add("question", "may %s: %s on %s", q.Agent, q.Action, q.Resource)
	r.add("", "with arguments of SHA-256 %v%s", q.ArgsDigest, shownWord(q.Args))
	if q.Generation != nil {
		r.add("", "as generation %x", q.Generation)
	}
	for i, d := range e.Decisions {
		what := "decision"
		if i > 0 {
			what = "or"
		}
		r.add(what, "%s", decisionText(d))
		for _, assumption := range assumptions(d) {
			r.add("", "%s", assumption)
		}
		if d.IsOpen() {
			r.exit = exitConditional
		}
	}
	r.addCause(e.Cause)
	r.add("state", "of %s, block %d of ledger %v", trust.Origin, e.Head.Block, e.Head.Ledger)
	r.add("signed by", "%s (fresh); %s (the head)", names(e.Signers), names(e.HeadSigners))
	switch e.Asked {
	case "check":
		r.add("when", "for all of %s to %s", at(e.LowMs), at(e.HighMs))
		r.add("", "nothing is missing that was acknowledged before the nonce %v was made", e.Nonce)
	case "recent_check":
		r.add("when", "for all of %s to %s", at(e.LowMs), at(e.HighMs))
		r.add("", "nothing is missing that was acknowledged before %s less the nodes' clock bound", at(e.ClockMinMs))
	default:
		r.add("when", "in the state after block %d, as at %s", e.State.Block, at(e.LowMs))
	}
	if r.exit == exitConditional {
		r.outcome = "verified, but for conditions: not re-executed here"
	}
	r.notShown(missingIn(e)...)
	return r
}

func shownWord(args []byte) string {
	if args == nil {
		return ", which are not shown"
	}
	return ""
}

func missingIn(e *formats.Evidence) []string {
	texts := []string{"that the agent did anything, or did not: no call is recorded here"}
	switch e.Asked {
	case "check":
		texts = append(texts, "anything of later than that; when the nonce was made is the word of whoever made it")
	case "recent_check":
		texts = append(texts, "anything of later than that, and nothing of it without the nodes' clocks")
	default:
		texts = append(texts, "anything of now; nor that anybody had seen that state by then")
	}
	for _, d := range e.Decisions {
		if d.Permit != nil && len(d.Permit.Bounds) > 0 {
			return append(texts, "that the bounds were spent: only a recorded decision does that, so that this is no permit")
		}
	}
	return texts
}

func assumptions(d *formats.Decision) []string {
	var out []string
	for _, a := range d.Assumes {
		holds := "holds"
		if !a.Holds {
			holds = "does not hold"
		}
		out = append(out, fmt.Sprintf("if the condition of grant %x %s, which is not re-executed here", a.Grant.Grant, holds))
	}
	if len(d.PassedOver) == 1 && d.Denial != nil && d.Denial.Code == "condition_failed" {
		return out // the same, told of its chain
	}
	for _, ref := range d.PassedOver {
		out = append(out, fmt.Sprintf("if the conditions of grant %x, and above it, do not permit it", ref.Grant))
	}
	return out
}

func decisionText(d *formats.Decision) string {
	if d.Denial != nil {
		return denialText(d.Denial)
	}
	p := d.Permit
	text := fmt.Sprintf("permitted until %s by grant %x", at(p.NotAfterMs), p.Chain[0].Grant)
	for _, ref := range p.Chain[1:] {
		text += fmt.Sprintf(", delegated from %x", ref.Grant)
	}
	for _, b := range p.Bounds {
		text += fmt.Sprintf("; of bound %s %d of %d are used, %d wanted", b.Bound.Name, b.Used, b.Bound.Limit, b.Wanted)
	}
	return text
}

func denialText(d *formats.Denial) string {
	text := "denied: " + d.Code
	if d.Agent != "" {
		text += ", agent " + d.Agent
	}
	if d.Grant != nil {
		text += fmt.Sprintf(", grant %x", d.Grant.Grant)
	}
	if d.Lineage != "" {
		text += ", lineage " + d.Lineage
	}
	if d.Generation != 0 {
		text += fmt.Sprintf(", generation %d", d.Generation)
	}
	if d.Outside != "" {
		text += ", outside its " + d.Outside + "s"
	}
	if d.TimeMs != 0 {
		text += ", " + at(d.TimeMs)
	}
	if d.Halted != nil {
		kind, subject := d.Halted.Describe()
		text += strings.TrimRight(", "+kind+" "+subject, " ")
	}
	text += because(d.Reason)
	if d.Bound != nil {
		text += fmt.Sprintf(", bound %s: %d of %d are used", d.Bound.Name, d.Bound.Used, d.Bound.Limit)
	}
	if d.Knowledge != nil {
		text += ", of " + d.Knowledge.Template
	}
	if d.Condition != nil {
		text += ", " + d.Condition.Reason
	}
	if d.Cause != nil {
		text += fmt.Sprintf(", by leaf %d of block %d at %s", d.Cause.Index, d.Cause.Block, at(d.Cause.TimeMs))
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + quoted(reason) + ")"
}

// describe is the kind of a command, and what it is about where that is one name.
func describe(c *formats.Command) string {
	switch {
	case c.RevokeGrant != nil:
		return fmt.Sprintf("revoke_grant %x", c.RevokeGrant.Grant) + because(c.RevokeGrant.Reason)
	case c.RevokeAgent != nil:
		return "revoke_agent " + c.RevokeAgent.Agent + because(c.RevokeAgent.Reason)
	case c.RetireAgent != nil:
		return "retire_agent " + c.RetireAgent.Agent
	case c.Halt != nil:
		kind, subject := c.Halt.Scope.Describe()
		return strings.TrimRight("halt "+kind+" "+subject, " ") + because(c.Halt.Reason)
	case c.SetLineage != nil:
		return "set_lineage " + c.SetLineage.Lineage
	case c.RegisterGeneration != nil:
		return "register_generation of " + c.RegisterGeneration.Lineage
	case c.ReleaseGeneration != nil:
		return fmt.Sprintf("release_generation %x of %s", c.ReleaseGeneration.Generation, c.ReleaseGeneration.Lineage)
	case c.RollbackLineage != nil:
		return fmt.Sprintf("rollback_lineage %s to %x", c.RollbackLineage.Lineage, c.RollbackLineage.Generation)
	case c.Authorize != nil:
		a := c.Authorize
		return fmt.Sprintf("authorize %s: %s on %s, with arguments of SHA-256 %x", a.Agent, a.Action, a.Resource, a.ArgsDigest)
	case c.Outcome != nil:
		o := c.Outcome
		kind := [...]string{"", "executed", "failed", "unknown", "compensated"}[o.Kind]
		return fmt.Sprintf("outcome %s of decision %d of %s", kind, o.Decision.Number, o.Decision.Agent)
	}
	return "another command"
}

func ofRecord(recorded *formats.Recorded) *report {
	r := &report{outcome: "verified"}
	leaf := recorded.Leaf
	r.add("recorded", "%s", describe(leaf.Signed.Command))
	r.add("", "leaf %d, in block %d at %s, signed by %x", recorded.Index, leaf.Block, at(leaf.TimeMs), leaf.Signed.Command.Signer)
	if v := leaf.Verdict; v != nil {
		r.add("verdict", "as recorded, decision %d of the agent: %s", v.Number, verdictText(v))
	}
	r.addCause(recorded.Cause)
	r.add("signed by", "%s (the head of block %d)", names(recorded.Signers), recorded.Head.Block)
	if leaf.Verdict != nil {
		r.notShown("the state that decided: the verdict, its conditions too, is the word of the quorum that signed",
			"that the call was made, or how it ended: an outcome is a record of its own")
	} else {
		r.notShown("that what it says is so: it shows who said it, and that it took effect")
	}
	return r
}

func ofRecordedBy(recorded *formats.RecordedBy) *report {
	r := &report{outcome: "verified"}
	leaf := recorded.Leaf
	r.add("claim", "by %s: %s", at(recorded.ByMs), describe(leaf.Signed.Command))
	r.add("", "leaf %d, in block %d at %s, signed by %x", recorded.Index, leaf.Block, at(leaf.TimeMs), leaf.Signed.Command.Signer)
	if v := leaf.Verdict; v != nil {
		r.add("verdict", "as recorded, decision %d of the agent: %s", v.Number, verdictText(v))
	}
	if a := leaf.Signed.Command.Authorize; a != nil && a.Knowledge != nil {
		r.add("knowledge", "%d items of the root %x", a.Knowledge.Count, a.Knowledge.Root)
	}
	for _, node := range recorded.Nodes {
		r.add("cosigned by", "%s, in the second from %s", node.Name, at(recorded.TimesS[node.Node]*1000))
	}
	for _, witness := range recorded.Witnesses {
		r.add("cosigned by", "the witness %s", quoted(witness))
	}
	r.notShown("when exactly it took effect: it was there by then", "that the clocks of those who cosigned were right",
		"that what it says is so, or what came of it: it shows who said it, and by when it had taken effect")
	return r
}

func ofNoPermit(n *formats.NoPermit) *report {
	r := &report{outcome: "verified"}
	r.add("claim", "no permit was recorded for %s after block %d (%s) up to block %d (%s)", n.Agent, n.From.Block, at(n.From.TimeMs),
		n.To.Block, at(n.To.TimeMs))
	r.add("", "%d permits had been recorded before; %d denials were, between the two", n.Permits, n.Denials)
	r.add("signed by", "%s (from), %s (to)", names(n.From.Signers), names(n.To.Signers))
	r.notShown("what was permitted by checks that were not recorded, or done around the gates",
		"that nothing was done on a permit that was recorded before")
	return r
}

func verdictText(v *formats.Verdict) string {
	if v.Denial != nil {
		return denialText(v.Denial)
	}
	text := fmt.Sprintf("permitted, to begin before %s, by grant %x", at(v.Permit.DeadlineMs), v.Permit.Chain[0].Grant)
	for _, b := range v.Permit.Bounds {
		text += fmt.Sprintf("; of bound %s %d of %d, after %d", b.Name, b.Taken, b.Limit, b.Used)
	}
	return text
}

func ofConviction(c *formats.Conviction) *report {
	r := &report{outcome: "convicted"}
	r.add("node", "%d, %s, with key %x", c.Voter.Node, c.Voter.Name, c.Voter.Key)
	r.add("charge", "%s", c.Charge)
	for _, m := range c.Messages {
		if s := m.Statement; s != nil {
			r.add("signed", "statement %d.%d: head of block %d at %s, log of %d leaves, root %v, state root %v", s.Epoch,
				s.Counter, s.Head.Block, at(s.Head.TimeMs), s.Head.LogSize, s.Head.LogRoot, s.Head.StateRoot)
			if s.Fresh {
				r.add("", "its Raft log ends with block %d under roster %v", s.TailBlock, s.TailRoster)
			}
		} else {
			r.add("signed", "block of term %d, after %x, head of block %d is %x", m.Block.Term, m.Block.PreviousHash,
				m.Block.HeadBlock, m.Block.HeadHash)
		}
	}
	r.notShown("whether it was malice, a fault, or a stolen key; which of two messages is true")
	return r
}

func ofEquivocation(e *formats.Equivocation) *report {
	r := &report{outcome: "convicted"}
	for i, voter := range e.Nodes {
		r.add("node", "%d, %s, with key %x", voter.Node, voter.Name, voter.Key)
		r.add("cosigned", "the one at %s, the other at %s", at(e.TimesS[i][0]*1000), at(e.TimesS[i][1]*1000))
	}
	for _, c := range e.Checkpoints {
		r.add("checkpoint", "%d leaves, root %v", c.Size, c.Root)
	}
	r.notShown("whether it was malice, a fault, or a stolen key; which of the two logs is the ledger's")
	return r
}

func ofKnowledge(p *formats.KnowledgeProof) *report {
	r := &report{outcome: "verified"}
	r.add("root", "%v, of %d items", p.Root, p.Count)
	switch {
	case p.Present != nil:
		i := p.Present.Item
		r.add("present", "%s, SHA-256 %x, had by %s", i.Source, i.Digest, at(i.RetrievedAtMs))
	case p.AbsentItem != nil:
		i := p.AbsentItem
		r.add("absent", "%s, SHA-256 %x, had by %s", i.Source, i.Digest, at(i.RetrievedAtMs))
	default:
		r.add("absent", "anything of %s", p.AbsentSource)
	}
	r.notShown("that it was true, that it was all, that the agent took notice",
		"who bound the root: a recorded decision does; that its items are in order is the word of whoever made it")
	return r
}
