package formats

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEvidence(t *testing.T) {
	trust := trustOfFile(t)
	each(t, known.Evidence, func(c evidenceVector) string { return c.Name }, func(t *testing.T, c evidenceVector) {
		e, err := trust.VerifyEvidence([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil || c.Shows.Error != "" {
			return
		}
		isAmong(t, e.Decisions, c.Shows.Decision)
		same(t, "a cause is shown", e.Cause != nil, c.Shows.Cause != nil)
		if e.Cause != nil {
			same(t, "cause", hexed(encode(e.Cause.CommandEntry.Signed)), *c.Shows.Cause)
		}
	})
}

func TestRecorded(t *testing.T) {
	trust := trustOfFile(t)
	each(t, known.Recorded, func(c recordVector) string { return c.Name }, func(t *testing.T, c recordVector) {
		r, err := trust.VerifyRecord([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil || c.Shows.Error != "" {
			return
		}
		same(t, "index", r.Index, c.Shows.Index)
		same(t, "nodes", nodesOf(r.Signers), c.Shows.Nodes)
		same(t, "command", hexed(encode(r.Leaf.CommandEntry.Signed)), c.Shows.Command)
		same(t, "a cause is shown", r.Cause != nil, c.Shows.Cause != nil)
		if r.Cause != nil {
			same(t, "cause", hexed(encode(r.Cause.CommandEntry.Signed)), *c.Shows.Cause)
		}
		var want map[string]any
		if err := json.Unmarshal(c.Shows.Verdict, &want); err != nil {
			t.Fatal(err)
		}
		same(t, "verdict", verdictVector(t, r.Leaf.Verdict), want)
	})
}

func verdictVector(t *testing.T, v *Verdict) map[string]any {
	t.Helper()
	if v == nil {
		return nil
	}
	var out map[string]any
	if p := v.Permit; p != nil {
		out = permitVector(&PermitDecision{Chain: p.Chain, Generation: p.Generation})
		permit := out["permit"].(map[string]any)
		delete(permit, "max_staleness_ms")
		delete(permit, "not_after_ms")
		permit["deadline_ms"] = p.DeadlineMs
		bounds := []any{}
		for _, b := range p.Bounds {
			bounds = append(bounds, map[string]any{"grant": hexed(b.Grant.Grant), "name": b.Name, "limit": b.Limit,
				"used": b.Used, "taken": b.Taken})
		}
		permit["bounds"] = bounds
	} else {
		out = map[string]any{"denied": denialVector(v.Denial)}
	}
	out["number"] = v.Number
	return throughJSON(t, out)
}

func TestContradictions(t *testing.T) {
	trust := trustOfFile(t)
	name := func(c contradictionVector) string { return c.Name }
	each(t, known.Contradictions, name, func(t *testing.T, c contradictionVector) {
		conviction, err := trust.VerifyContradiction([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil || c.Shows.Error != "" {
			return
		}
		same(t, "node", conviction.Voter.Node, c.Shows.Node)
		same(t, "charge", conviction.Charge, c.Shows.Charge)
	})
}

func TestKnowledgeProofs(t *testing.T) {
	var root Hash
	proofs := 0
	for _, file := range known.KnowledgeProofs {
		// One is the items themselves, a line each.
		if kind, err := KindOf([]byte(file)); err != nil || kind != KindKnowledge {
			var items []*KnowledgeItem
			for _, line := range strings.Split(strings.TrimSpace(file), "\n") {
				value, _ := parseJSON([]byte(line), 1)
				m := value.object()
				items = append(items, m.item(m))
			}
			made, err := KnowledgeRootOf(items)
			same(t, "items", errorText(err), "")
			root = made
			continue
		}
		p, err := ReadKnowledgeProof([]byte(file))
		if err != nil {
			t.Error(err)
			continue
		}
		proofs++
		_, err = ReadKnowledgeProof([]byte(strings.Replace(file, `"count": 5`, `"count": 6`, 1)))
		same(t, "another count", errorText(err), "knowledge")
		_, err = ReadKnowledgeProof([]byte(strings.Replace(file, `"count": 5`, `"count": 5, "count": 5`, 1)))
		same(t, "a member twice", errorText(err), "malformed")
		defer func() { same(t, "root", p.Root, root) }()
	}
	same(t, "proofs", proofs > 0, true)
}
