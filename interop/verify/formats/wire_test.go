package formats

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// rereads is whether bytes are refused, or are what their value encodes to.
func rereads[T any](data []byte) bool {
	message, err := decode[T](data)
	return err != nil || bytes.Equal(encode(message), data)
}

// TestCanonical is that of many strings near an encoding none is read that is not itself the one encoding.
func TestCanonical(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	check := func(kind string, text string, holds func([]byte) bool) {
		data := unhexed(t, text)
		if !holds(data) {
			t.Errorf("%s: not read", kind)
		}
		for n := 0; n < 500; n++ {
			near := append([]byte(nil), data...)
			for edits := random.Intn(3); edits >= 0; edits-- {
				at := random.Intn(len(near))
				switch random.Intn(4) {
				case 0:
					near[at] ^= 1 << random.Intn(8)
				case 1:
					near = append(near[:at], near[at+1:]...)
				case 2:
					near = append(near[:at:at], append([]byte{byte(random.Intn(256))}, near[at:]...)...)
				default:
					near = append(near, data[random.Intn(len(data)):]...)
				}
				if len(near) == 0 {
					near = []byte{0}
				}
			}
			if !holds(near) {
				t.Fatalf("%s: %x is read, and encoded otherwise", kind, near)
			}
		}
	}
	check("answer", known.Answers[0].Answer, rereads[Answer])
	check("past answer", known.PastAnswers[0].Answer, rereads[PastAnswer])
	check("chain", known.RosterChain.Chain, rereads[RosterChain])
	check("block", known.Blocks[1].Block, rereads[Block])
	for _, c := range known.Commands {
		check(c.Name, c.Command, rereads[Command])
	}
	for _, r := range known.Records {
		check(r.Kind, r.Value, rereads[Record])
	}
}

var (
	messageStart = regexp.MustCompile(`^message (\w+) \{(.*)$`)
	oneofStart   = regexp.MustCompile(`^oneof (\w+) \{$`)
	fieldLine    = regexp.MustCompile(`^(repeated |optional )?(\w+) (\w+) = (\d+);$`)
)

// TestSchema holds the structs against the schema at the end of the document: each message, and of each every field
// with its number, type, label and oneof.
func TestSchema(t *testing.T) {
	document, err := os.ReadFile("../../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, schema, _ := strings.Cut(string(document), "syntax = \"proto3\";")
	schema, _, _ = strings.Cut(schema, "\n```")
	documented := map[string][]string{}
	message, oneof := "", ""
	for _, line := range strings.Split(strings.NewReplacer("{ ", "{\n", "; }", ";\n}").Replace(schema), "\n") {
		line = strings.TrimSpace(line)
		if m := messageStart.FindStringSubmatch(line); m != nil {
			message = m[1]
			documented[message] = []string{}
			if m[2] == "}" {
				message = ""
			}
		} else if strings.HasPrefix(line, "enum ") {
			message = ""
		} else if m := oneofStart.FindStringSubmatch(line); m != nil {
			oneof = m[1]
		} else if m := fieldLine.FindStringSubmatch(line); m != nil && message != "" {
			documented[message] = append(documented[message], fmt.Sprintf("%s %s %s=%s %s", strings.TrimSpace(m[1]), m[2],
				strings.ReplaceAll(m[3], "_", ""), m[4], oneof))
		} else if line == "}" {
			oneof = ""
		}
	}
	reached := map[string]reflect.Type{}
	for _, root := range []any{SignedCommand{}, Command{}, Block{}, Entry{}, Record{}, RosterChain{}, Answer{}, PastAnswer{}} {
		reach(reflect.TypeOf(root), reached)
	}
	same(t, "messages", len(reached), len(documented))
	for name, want := range documented {
		if reached[name] == nil {
			t.Errorf("no %s", name)
			continue
		}
		same(t, name, fieldsOf(reached[name]), want)
	}
}

func reach(t reflect.Type, reached map[string]reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reached[t.Name()] != nil {
		return
	}
	reached[t.Name()] = t
	for i := 0; i < t.NumField(); i++ {
		reach(t.Field(i).Type, reached)
	}
}

func fieldsOf(message reflect.Type) []string {
	out := []string{}
	for _, f := range layoutOf(message).fields {
		field := message.Field(f.index)
		kind, label := field.Type, ""
		if kind.Kind() == reflect.Slice && !isBytes(kind) {
			kind, label = kind.Elem(), "repeated"
		} else if f.presence && f.oneof == "" {
			label = "optional"
		}
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		name := kind.Name()
		if isBytes(kind) {
			name = "bytes"
		}
		out = append(out, fmt.Sprintf("%s %s %s=%d %s", label, name, strings.ToLower(field.Name), f.number, f.oneof))
	}
	return out
}

func TestBase64(t *testing.T) {
	for _, text := range []string{"AA=", "AA", "AB==", "A\nA==", "AA==\n", "AA== ", "A-==", "="} {
		_, err := parseBase64(text)
		same(t, fmt.Sprintf("%q", text), errorText(err), "malformed")
	}
	data, err := parseBase64(base64.StdEncoding.EncodeToString([]byte{1, 2, 3, 4}))
	same(t, "read", hexed(data)+errorText(err), "01020304")
}
