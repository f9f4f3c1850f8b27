package formats

import (
	"encoding/json"
	"strings"
	"testing"
)

type equivocationVector struct {
	Name, File string
	Shows      struct {
		// Each a node, and its two times.
		Nodes [][2]json.RawMessage
		Error string
	}
}

func TestEquivocations(t *testing.T) {
	trust := trustOfFile(t)
	each(t, known.Equivocations, func(c equivocationVector) string { return c.Name }, func(t *testing.T, c equivocationVector) {
		e, err := trust.VerifyEquivocation([]byte(c.File))
		same(t, "error", errorText(err), c.Shows.Error)
		if err != nil {
			return
		}
		same(t, "nodes", len(e.Nodes), len(c.Shows.Nodes))
		for i, node := range c.Shows.Nodes {
			var number uint64
			var times [2]uint64
			if json.Unmarshal(node[0], &number) != nil || json.Unmarshal(node[1], &times) != nil {
				t.Fatal("the vector is none")
			}
			same(t, "node", e.Nodes[i].Node, number)
			same(t, "times", e.TimesS[i], times)
		}
	})
}

// TestTamperedEquivocation changes each character of a file with a proof.
func TestTamperedEquivocation(t *testing.T) {
	trust := trustOfFile(t)
	changed := 0
	for _, c := range known.Equivocations {
		if c.Name != "two sizes" {
			continue
		}
		for i, letter := range []byte(c.File) {
			if strings.ContainsRune(" \n", rune(letter)) {
				continue
			}
			file := []byte(c.File)
			if file[i] = 'a'; letter == 'a' {
				file[i] = 'b'
			}
			changed++
			if _, err := trust.VerifyEquivocation(file); err == nil {
				t.Errorf("it still verifies with another character %d", i)
			}
		}
	}
	if changed < 500 {
		t.Errorf("%d changes only", changed)
	}
}
