package formats

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// RFC 8259, strictly: encoding/json mends what is not UTF-8, and takes the last of two members with one name.

type jsonKind byte

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonText
	jsonList
	jsonObject
)

type jsonValue struct {
	kind    jsonKind
	text    string // a text; a number, or true or false, as it is written
	items   []*jsonValue
	members []jsonMember
}

type jsonMember struct {
	name  string
	value *jsonValue
}

type jsonParser struct {
	data     []byte
	at       int
	depthMax int
	faults   jsonFaults
}

// jsonFaults is what may be wrong with a text that is JSON.
type jsonFaults struct {
	first           string // in the text, by its code in §8.3
	duplicate, deep bool
}

// parseJSON is nil if it is no JSON text.
func parseJSON(data []byte, depthMax int) (*jsonValue, jsonFaults) {
	p := &jsonParser{data: data, depthMax: depthMax}
	value, ok := p.value(0)
	p.space()
	if !ok || p.at != len(data) {
		return nil, p.faults
	}
	return value, p.faults
}

func (p *jsonParser) found(fault string) {
	if p.faults.first == "" {
		p.faults.first = fault
	}
}

func (p *jsonParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *jsonParser) takes(text string) bool {
	if len(p.data)-p.at < len(text) || string(p.data[p.at:p.at+len(text)]) != text {
		return false
	}
	p.at += len(text)
	return true
}

// No file and no arguments need more; it bounds the recursion.
const jsonNestingMax = 4096

func (p *jsonParser) value(depth int) (*jsonValue, bool) {
	p.space()
	if p.at == len(p.data) || depth > jsonNestingMax {
		return nil, false
	}
	switch c := p.data[p.at]; {
	case c == '{' || c == '[':
		if depth >= p.depthMax {
			p.faults.deep = true
			p.found("arguments_too_deep")
		}
		p.at++
		if c == '{' {
			return p.object(depth)
		}
		return p.list(depth)
	case c == '"':
		text, ok := p.string()
		return &jsonValue{kind: jsonText, text: text}, ok
	case p.takes("null"):
		return &jsonValue{kind: jsonNull}, true
	case p.takes("true"):
		return &jsonValue{kind: jsonBool, text: "true"}, true
	case p.takes("false"):
		return &jsonValue{kind: jsonBool, text: "false"}, true
	default:
		return p.number()
	}
}

func (p *jsonParser) object(depth int) (*jsonValue, bool) {
	v := &jsonValue{kind: jsonObject}
	names := map[string]bool{}
	for p.space(); !p.takes("}"); p.space() {
		if len(v.members) > 0 && !p.takes(",") {
			return nil, false
		}
		p.space()
		name, ok := p.string()
		if !ok {
			return nil, false
		}
		if names[name] {
			p.faults.duplicate = true
			p.found("arguments_duplicate_name")
		}
		names[name] = true
		p.space()
		if !p.takes(":") {
			return nil, false
		}
		value, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		v.members = append(v.members, jsonMember{name, value})
	}
	return v, true
}

func (p *jsonParser) list(depth int) (*jsonValue, bool) {
	v := &jsonValue{kind: jsonList}
	for p.space(); !p.takes("]"); p.space() {
		if len(v.items) > 0 && !p.takes(",") {
			return nil, false
		}
		item, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		v.items = append(v.items, item)
	}
	return v, true
}

func (p *jsonParser) digits() int {
	start := p.at
	for p.at < len(p.data) && '0' <= p.data[p.at] && p.data[p.at] <= '9' {
		p.at++
	}
	return p.at - start
}

func (p *jsonParser) number() (*jsonValue, bool) {
	start := p.at
	p.takes("-")
	zero := p.at < len(p.data) && p.data[p.at] == '0'
	if count := p.digits(); count == 0 || zero && count > 1 {
		return nil, false
	}
	if p.takes(".") && p.digits() == 0 {
		return nil, false
	}
	if p.takes("e") || p.takes("E") {
		if !p.takes("+") {
			p.takes("-")
		}
		if p.digits() == 0 {
			return nil, false
		}
	}
	text := string(p.data[start:p.at])
	if _, err := strconv.ParseInt(text, 10, 64); err != nil || text == "-0" {
		p.found("arguments_number")
	}
	return &jsonValue{kind: jsonNumber, text: text}, true
}

func (p *jsonParser) string() (string, bool) {
	if !p.takes(`"`) {
		return "", false
	}
	var out []byte
	for p.at < len(p.data) {
		c := p.data[p.at]
		p.at++
		switch {
		case c == '"':
			return string(out), utf8.Valid(out)
		case c < 0x20:
			return "", false
		case c != '\\':
			out = append(out, c)
		default:
			char, ok := p.escape()
			if !ok {
				return "", false
			}
			out = utf8.AppendRune(out, char)
		}
	}
	return "", false
}

func (p *jsonParser) escape() (rune, bool) {
	if p.at == len(p.data) {
		return 0, false
	}
	c := p.data[p.at]
	p.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		first, ok := p.fourDigits()
		if !ok || !utf16.IsSurrogate(first) {
			return first, ok
		}
		if !p.takes(`\u`) {
			return 0, false
		}
		second, ok := p.fourDigits()
		char := utf16.DecodeRune(first, second)
		return char, ok && char != utf8.RuneError
	}
	return 0, false
}

func (p *jsonParser) fourDigits() (rune, bool) {
	if len(p.data)-p.at < 4 {
		return 0, false
	}
	var value rune
	for _, c := range p.data[p.at : p.at+4] {
		digit, err := strconv.ParseUint(string(c), 16, 8)
		if err != nil {
			return 0, false
		}
		value = value<<4 | rune(digit)
	}
	p.at += 4
	return value, true
}

// members reads an object each of whose members is asked for by its name; bad tells at last whether one was not
// there, not as it must be, or never asked for.
type members struct {
	left map[string]*jsonValue
	bad  bool
}

func (v *jsonValue) object() *members {
	m := &members{left: map[string]*jsonValue{}}
	if v == nil || v.kind != jsonObject {
		m.bad = true
		return m
	}
	for _, member := range v.members {
		m.left[member.name] = member.value
	}
	return m
}

func (m *members) has(name string) bool { return m.left[name] != nil }

func (m *members) take(name string, kind jsonKind) *jsonValue {
	v := m.left[name]
	delete(m.left, name)
	if v == nil || v.kind != kind {
		m.bad = true
		return &jsonValue{}
	}
	return v
}

func (m *members) text(name string) string { return m.take(name, jsonText).text }

func (m *members) hash(name string) Hash { return m.hashOf(m.text(name)) }

func (m *members) hashOf(text string) Hash {
	data, err := parseHex(text, 32)
	if err != nil {
		m.bad = true
		return Hash{}
	}
	return Hash(data)
}

func (m *members) bytes(name string) []byte { return m.bytesOf(m.text(name)) }

func (m *members) bytesOf(text string) []byte {
	data, err := parseBase64(text)
	if err != nil {
		m.bad = true
	}
	return data
}

func (m *members) integer(name string) uint64 {
	value, err := strconv.ParseUint(m.take(name, jsonNumber).text, 10, 64)
	if err != nil {
		m.bad = true
	}
	return value
}

func (m *members) list(name string) []*jsonValue { return m.take(name, jsonList).items }

func (m *members) member(name string) *members {
	inner := m.left[name].object()
	delete(m.left, name)
	return inner
}

// done is whether all was as it must be, in the inner ones too.
func (m *members) done(inner ...*members) bool {
	for _, i := range inner {
		if !i.done() {
			return false
		}
	}
	return !m.bad && len(m.left) == 0
}
