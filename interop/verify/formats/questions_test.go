package formats

import (
	"encoding/json"
	"strings"
	"testing"
)

type recordedByVector struct {
	Name, File string
	Shows      struct {
		Index    uint64
		Command  string
		Verdict  json.RawMessage
		ByMs     uint64 `json:"by_ms"`
		Cosigned [][2]uint64
		Block    uint64
		Error    string
	}
}

type noPermitVector struct {
	Name, File string
	Shows      struct {
		Agent            string
		Permits, Denials uint64
		From, To         struct {
			Block  uint64
			TimeMs uint64 `json:"time_ms"`
		}
		Error string
	}
}

func TestRecordedBy(t *testing.T) {
	trust := trustOfFile(t)
	each(t, known.RecordedBy, func(c recordedByVector) string { return c.Name }, func(t *testing.T, c recordedByVector) {
		r, err := trust.VerifyRecordedBy([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil || c.Shows.Error != "" {
			return
		}
		same(t, "index", r.Index, c.Shows.Index)
		same(t, "command", hexed(encode(r.Leaf.CommandEntry.Signed)), c.Shows.Command)
		same(t, "time", r.ByMs, c.Shows.ByMs)
		same(t, "block", r.State.Block, c.Shows.Block)
		var cosigned [][2]uint64
		for _, node := range r.Nodes {
			cosigned = append(cosigned, [2]uint64{node.Node, r.TimesS[node.Node]})
		}
		same(t, "cosigned", cosigned, c.Shows.Cosigned)
		var want map[string]any
		if err := json.Unmarshal(c.Shows.Verdict, &want); err != nil {
			t.Fatal(err)
		}
		same(t, "verdict", verdictVector(t, r.Leaf.Verdict), want)
	})
}

func TestNoPermit(t *testing.T) {
	trust := trustOfFile(t)
	each(t, known.NoPermit, func(c noPermitVector) string { return c.Name }, func(t *testing.T, c noPermitVector) {
		n, err := trust.VerifyNoPermit([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil || c.Shows.Error != "" {
			return
		}
		same(t, "agent", n.Agent, c.Shows.Agent)
		same(t, "counts", [2]uint64{n.Permits, n.Denials}, [2]uint64{c.Shows.Permits, c.Shows.Denials})
		same(t, "from", [2]uint64{n.From.Block, n.From.TimeMs}, [2]uint64{c.Shows.From.Block, c.Shows.From.TimeMs})
		same(t, "to", [2]uint64{n.To.Block, n.To.TimeMs}, [2]uint64{c.Shows.To.Block, c.Shows.To.TimeMs})
	})
}

// TestTamperedQuestions is that of TestTampered, of these files, and of each character of a checkpoint that took all of its
// cosignatures.
func TestTamperedQuestions(t *testing.T) {
	trust := trustOfFile(t)
	for _, c := range known.NoPermit {
		if c.Name == "after the first permits, to now" {
			tamper(t, c.Name, c.File, []string{"answer"}, func(file []byte) error {
				_, err := trust.VerifyNoPermit(file)
				return err
			})
		}
	}
	for _, c := range known.RecordedBy {
		if c.Name != "by as many as it takes" {
			continue
		}
		verify := func(file []byte) error {
			_, err := trust.VerifyRecordedBy(file)
			return err
		}
		tamper(t, c.Name, c.File, []string{"entry", "rosters"}, verify)
		var value map[string]any
		if err := json.Unmarshal([]byte(c.File), &value); err != nil {
			t.Fatal(err)
		}
		note := value["checkpoint"].(string)
		for i, letter := range note {
			value["checkpoint"] = note[:i] + "x" + strings.TrimPrefix(note[i:], string(letter))
			made, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if letter != 'x' && verify(made) == nil {
				t.Errorf("the checkpoint still verifies with another character %d", i)
			}
		}
	}
}
