package formats

import (
	"encoding/base64"
	"encoding/json"
	"testing"
)

// TestTampered is that not a byte of what a file carries can be another: a bit is flipped in each byte of the answer, the
// rosters and the cause's entry; of records in each of the leaf's entry, the head and the statements.
func TestTampered(t *testing.T) {
	trust := trustOfFile(t)
	for _, name := range []string{"a denial and its cause", "a permit", "the past, permitted"} {
		for _, c := range known.Evidence {
			if c.Name == name {
				tamper(t, name, c.File, []string{"answer", "rosters", "entry"}, func(file []byte) error {
					_, err := trust.VerifyEvidence(file)
					return err
				})
			}
		}
	}
	tamper(t, "a record", known.Recorded[0].File, []string{"entry", "head", "statements"}, func(file []byte) error {
		_, err := trust.VerifyRecord(file)
		return err
	})
	tamper(t, "a contradiction", known.Contradictions[0].File, []string{"signed"}, func(file []byte) error {
		_, err := trust.VerifyContradiction(file)
		return err
	})
}

func tamper(t *testing.T, name, file string, fields []string, verify func([]byte) error) {
	t.Helper()
	if err := verify([]byte(file)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var value any
	if err := json.Unmarshal([]byte(file), &value); err != nil {
		t.Fatal(err)
	}
	flips := 0
	for _, field := range fields {
		for _, slot := range slotsOf(value, field) {
			text := slot.get()
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			for at := range data {
				data[at] ^= 1 << (at % 8)
				slot.set(base64.StdEncoding.EncodeToString(data))
				data[at] ^= 1 << (at % 8)
				made, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				flips++
				if verify(made) == nil {
					t.Errorf("%s: %s still verifies with bit %d of byte %d flipped", name, field, at%8, at)
				}
			}
			slot.set(text)
		}
	}
	if flips < 300 {
		t.Errorf("%s: %d flips only", name, flips)
	}
}

type slot struct {
	get func() string
	set func(string)
}

// slotsOf are the texts of a member with this name, wherever it is, and of the list that it may be.
func slotsOf(value any, field string) []slot {
	var out []slot
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			out = append(out, slotsOf(item, field)...)
		}
	case map[string]any:
		for name, member := range value {
			name := name
			_, isText := member.(string)
			list, isList := member.([]any)
			switch {
			case name == field && isText:
				out = append(out, slot{func() string { return value[name].(string) }, func(s string) { value[name] = s }})
			case name == field && isList:
				for i := range list {
					i := i
					out = append(out, slot{func() string { return list[i].(string) }, func(s string) { list[i] = s }})
				}
			default:
				out = append(out, slotsOf(member, field)...)
			}
		}
	}
	return out
}

// TestJSON is what evidence's JSON must not be.
func TestJSON(t *testing.T) {
	trust := trustOfFile(t)
	file := known.Evidence[1].File
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(file), &members); err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) string {
		changed := map[string]json.RawMessage{}
		for k, v := range members {
			changed[k] = v
		}
		changed[name] = json.RawMessage(value)
		made, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return string(made)
	}
	end := len(file) - 1
	for file[end] != '}' {
		end--
	}
	for name, changed := range map[string]string{
		"a member twice":        file[:end] + `,"origin":"` + known.Origin + `"}`,
		"a member more":         with("more", "1"),
		"null for a cause":      with("cause", "null"),
		"null for rosters":      with("rosters", "null"),
		"rosters without links": with("rosters", `""`),
		"a text for a cause":    with("cause", `"x"`),
		"a byte order mark":     "\ufeff" + file,
		"something behind":      file + "x",
		"cut short":             file[:end],
		"a lone surrogate":      with("origin", `"\ud800"`),
		"nothing":               "",
		"only brackets":         "[[[[[[[[[[[[",
	} {
		_, err := trust.VerifyEvidence([]byte(changed))
		same(t, name, errorText(err), "malformed")
	}
	_, err := trust.VerifyEvidence([]byte("\n\t " + file + " \r\n"))
	same(t, "white space around it", errorText(err), "")
}

func TestTrustFile(t *testing.T) {
	good := known.TrustFile
	voter := "\n[[roster.voters]]\nnode = 9\nname = \"node-9\"\nkey = \"" + known.Keys[5].Public + "\"\n"
	digest := known.Roster.Digest
	for name, file := range map[string]string{
		"as it is":              good,
		"with a comment":        "# of whom\n" + good + "# the end",
		"with its own minimum":  "minimum_roster = \"" + digest + "@0\"\n" + good,
		"with a later minimum":  "minimum_roster = \"" + digest + "@7\"\n" + good,
		"without minimum_block": replaced(t, good, "minimum_block = 0\n", ""),
	} {
		_, err := ReadTrust([]byte(file))
		same(t, name, errorText(err), "")
	}
	for name, file := range map[string]string{
		"nothing":              "",
		"another member":       "more = 1\n" + good,
		"a member twice":       "minimum_block = 0\n" + good,
		"a negative number":    replaced(t, good, "minimum_block = 0", "minimum_block = -1"),
		"a text for a number":  replaced(t, good, "minimum_block = 0", "minimum_block = \"0\""),
		"upper case":           replaced(t, good, known.LedgerID, "52DB"+known.LedgerID[4:]),
		"a short key":          replaced(t, good, known.LedgerID, known.LedgerID[2:]),
		"too few for a quorum": good + voter,
		"a node twice":         good + replaced(t, voter, "node = 9", "node = 3"),
		"no roster id":         "minimum_roster = \"" + known.LedgerID + "\"\n" + good,
		"no origin":            replaced(t, good, "origin = \""+known.Origin+"\"\n", ""),
	} {
		_, err := ReadTrust([]byte(file))
		same(t, name, errorText(err), "malformed")
	}
}
