package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type file struct{ Name, File string }

// written puts the files of the vectors into a folder, each under its section and name, with the trust file.
func written(t *testing.T) (path func(section, name string) string, trust string) {
	t.Helper()
	data, err := os.ReadFile("../../ledger/tests/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		TrustFile                          string `json:"trust_file"`
		Evidence, Recorded, Contradictions []file
		RecordedBy                         []file   `json:"recorded_by"`
		NoPermit                           []file   `json:"no_permit"`
		KnowledgeProofs                    []string `json:"knowledge_proofs"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sections := map[string][]file{"evidence": v.Evidence, "recorded": v.Recorded, "contradictions": v.Contradictions,
		"recorded_by": v.RecordedBy, "no_permit": v.NoPermit}
	for section, files := range sections {
		for _, f := range files {
			write(section+" "+f.Name+".json", f.File)
		}
	}
	write("knowledge present.json", v.KnowledgeProofs[0])
	write("trust.toml", v.TrustFile)
	path = func(section, name string) string { return filepath.Join(folder, section+" "+name+".json") }
	return path, filepath.Join(folder, "trust.toml")
}

func TestProgram(t *testing.T) {
	path, trust := written(t)
	permit := path("evidence", "a permit")
	denial := path("evidence", "a denial and its cause")
	conditional := path("evidence", "a denial by a condition, with the arguments")
	bad := path("evidence", "another leaf")
	knowledge := path("knowledge", "present")
	root := "946c5a3fc2a1d667b4f06f8c3d327ec3c78a4ca3427df74e94a4263d629c0689"
	for _, c := range []struct {
		args []string
		exit int
		says []string
	}{
		{[]string{permit}, exitVerified, []string{"permitted until", "node-1, node-2", "not shown"}},
		{[]string{denial}, exitVerified, []string{"denied: revoked", "revoke_grant", "(ticket 1403)"}},
		{[]string{path("evidence", "the past, permitted")}, exitVerified, []string{"anything of now"}},
		{[]string{path("evidence", "a recent check")}, exitVerified, []string{"the nodes' clocks"}},
		{[]string{conditional}, exitConditional, []string{"not re-executed here", "denied: condition_failed"}},
		{[]string{bad}, exitInvalid, []string{"INVALID: other_leaf"}},
		{[]string{bad, permit, conditional}, exitInvalid, []string{"INVALID", "permitted until"}},
		{[]string{permit, conditional, denial}, exitConditional, nil},
		{[]string{path("recorded", "a recorded permit")}, exitVerified, []string{"as recorded, decision 1"}},
		{[]string{path("recorded_by", "a revocation")}, exitVerified, []string{"by 20", "cosigned by", "not shown"}},
		{[]string{path("recorded_by", "by too few")}, exitInvalid, []string{"INVALID: checkpoint/too_few_nodes"}},
		{[]string{path("no_permit", "after the first permits, to now")}, exitVerified, []string{"no permit was recorded for team/b"}},
		{[]string{path("no_permit", "over permits")}, exitInvalid, []string{"INVALID: permitted"}},
		{[]string{path("recorded", "a state leaf")}, exitInvalid, []string{"INVALID: other_leaf"}},
		{[]string{path("contradictions", "head twice")}, exitVerified, []string{"convicted", "head_twice", "node-2"}},
		{[]string{path("contradictions", "one statement")}, exitInvalid, []string{"INVALID: nothing"}},
		{[]string{knowledge, "--root", root}, exitVerified, []string{"present", "reservation/EHGLP3"}},
		{[]string{knowledge, "--root", strings.Repeat("0", 64)}, exitInvalid, nil},
		{[]string{knowledge}, exitInvalid, nil},
		{[]string{trust}, exitInvalid, []string{"INVALID: malformed"}},
		{[]string{permit + ".not-there"}, exitUsage, nil},
		{[]string{permit, "--trust", permit}, exitUsage, nil},
		{[]string{permit, "--more"}, exitUsage, nil},
		{nil, exitUsage, nil},
	} {
		var out, failed bytes.Buffer
		if exit := run(append(c.args, "--trust", trust), &out, &failed); exit != c.exit {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, exit, c.exit, out.String(), failed.String())
		}
		for _, text := range c.says {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%v: %q is not said in\n%s", c.args, text, out.String())
			}
		}
	}
	var out, failed bytes.Buffer
	if exit := run([]string{permit}, &out, &failed); exit != exitUsage {
		t.Errorf("without a trust: exit %d", exit)
	}
	if exit := run([]string{permit, "--trust", bad}, &out, &failed); exit != exitUsage {
		t.Errorf("evidence for a trust file: exit %d", exit)
	}
}
