package formats

import (
	"crypto/sha256"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// §8.3: arguments that conditions, templates and bounds may look at.

const (
	argumentsSizeMax = 4096
	nestingMax       = 8
)

// usableArguments is an object, or the code of why there is none.
func usableArguments(data []byte, digest Hash) (*jsonValue, string) {
	switch {
	case data == nil:
		return nil, "arguments_undisclosed"
	case len(data) > argumentsSizeMax:
		return nil, "arguments_too_large"
	case sha256.Sum256(data) != digest:
		return nil, "arguments_other_digest"
	}
	value, fault := parseArguments(data)
	if fault == "" && canonical(value) != string(data) {
		fault = "arguments_not_canonical"
	}
	if fault != "" {
		return nil, fault
	}
	return value, ""
}

// parseArguments is all but that they are in canonical form.
func parseArguments(data []byte) (*jsonValue, string) {
	value, faults := parseJSON(data, nestingMax)
	switch {
	case faults.first != "": // the first in the text, before what may be no JSON
		return nil, faults.first
	case value == nil:
		return nil, "arguments_not_json"
	case value.kind != jsonObject:
		return nil, "arguments_not_an_object"
	}
	return value, ""
}

func canonical(v *jsonValue) string {
	var out strings.Builder
	v.writeCanonical(&out)
	return out.String()
}

func (v *jsonValue) writeCanonical(out *strings.Builder) {
	switch v.kind {
	case jsonNull:
		out.WriteString("null")
	case jsonText:
		writeText(out, v.text)
	case jsonList:
		out.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				out.WriteByte(',')
			}
			item.writeCanonical(out)
		}
		out.WriteByte(']')
	case jsonObject:
		members := append([]jsonMember(nil), v.members...)
		sort.Slice(members, func(i, j int) bool { return lessUTF16(members[i].name, members[j].name) })
		out.WriteByte('{')
		for i, member := range members {
			if i > 0 {
				out.WriteByte(',')
			}
			writeText(out, member.name)
			out.WriteByte(':')
			member.value.writeCanonical(out)
		}
		out.WriteByte('}')
	default: // an integer has one way to be written
		out.WriteString(v.text)
	}
}

func lessUTF16(a, b string) bool {
	x, y := utf16.Encode([]rune(a)), utf16.Encode([]rune(b))
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return len(x) < len(y)
}

func writeText(out *strings.Builder, text string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`}
	out.WriteByte('"')
	for _, c := range text {
		if escaped, ok := short[c]; ok {
			out.WriteString(escaped)
		} else if c < 0x20 {
			out.WriteString(`\u00` + strconv.FormatInt(0x100|int64(c), 16)[1:])
		} else {
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
}

// argument is a member of the arguments, if there are any.
func (r *Request) argument(name string) *jsonValue {
	if r.arguments == nil {
		return nil
	}
	for _, member := range r.arguments.members {
		if member.name == name {
			return member.value
		}
	}
	return nil
}

// amount is the argument that a sum adds up, if it is an integer that is not negative.
func (r *Request) amount(name string) (uint64, bool) {
	v := r.argument(name)
	if v == nil || v.kind != jsonNumber {
		return 0, false
	}
	value, err := strconv.ParseInt(v.text, 10, 64)
	return uint64(value), err == nil && value >= 0
}

// fill is the source that a template names for the request; none if a place cannot be filled.
func (r *Request) fill(template string) (string, bool) {
	places, ok := placesOf(template)
	if !ok {
		return "", false
	}
	var out strings.Builder
	at := 0
	for _, p := range places {
		out.WriteString(template[at:p.start])
		at = p.end
		switch word := template[p.start+1 : p.end-1]; word {
		case "agent":
			out.WriteString(r.Agent)
		case "action":
			out.WriteString(r.Action)
		case "resource":
			out.WriteString(r.Resource)
		default:
			v := r.argument(strings.TrimPrefix(word, "args."))
			if v == nil || v.kind != jsonNumber && v.kind != jsonText || v.kind == jsonText &&
				(v.text == "" || strings.Contains(v.text, "/")) {
				return "", false
			}
			out.WriteString(v.text)
		}
	}
	out.WriteString(template[at:])
	return out.String(), isName(out.String())
}
