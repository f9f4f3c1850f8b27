package formats

import (
	"strings"
	"unicode/utf8"
)

// §1.3.

var invisible = [][2]rune{
	{0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
	{0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x206f}, {0x2800, 0x2800}, {0x3164, 0x3164}, {0xfe00, 0xfe0f},
	{0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
	{0xe0000, 0xe0fff},
}

func isInvisible(c rune) bool {
	for _, r := range invisible {
		if r[0] <= c && c <= r[1] {
			return true
		}
	}
	return false
}

func isControl(c rune) bool { return c <= 0x1f || 0x7f <= c && c <= 0x9f }

func isSpace(c rune) bool {
	switch {
	case 0x9 <= c && c <= 0xd, 0x2000 <= c && c <= 0x200a:
		return true
	}
	switch c {
	case 0x20, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return false
}

// hasNameCharacters is all of the rules for names but that on `*`.
func hasNameCharacters(text string) bool {
	if len(text) < 1 || len(text) > 256 || !utf8.ValidString(text) {
		return false
	}
	for _, c := range text {
		if isSpace(c) || isControl(c) || isInvisible(c) {
			return false
		}
	}
	for _, segment := range strings.Split(text, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func isName(text string) bool { return hasNameCharacters(text) && !strings.Contains(text, "*") }

func isPattern(text string) bool {
	if isName(text) || text == "*" {
		return true
	}
	before := strings.TrimSuffix(text, "/*")
	return hasNameCharacters(text) && before != text && before != "" && !strings.Contains(before, "*")
}

func prefixOf(pattern string) (string, bool) {
	prefix := strings.TrimSuffix(pattern, "*")
	return prefix, prefix != pattern
}

func matches(pattern, name string) bool {
	if prefix, open := prefixOf(pattern); open {
		return len(name) > len(prefix) && strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

func covers(p, q string) bool {
	prefix, open := prefixOf(p)
	other, otherOpen := prefixOf(q)
	switch {
	case open && otherOpen:
		return strings.HasPrefix(other, prefix)
	case otherOpen:
		return false
	default:
		return matches(p, q)
	}
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if matches(pattern, name) {
			return true
		}
	}
	return false
}

func arePatterns(list []string) bool {
	for _, pattern := range list {
		if !isPattern(pattern) {
			return false
		}
	}
	return len(list) <= 64 && isAscending(list)
}

// isAscending is false, too, where one is there twice.
func isAscending(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}

func isIdentifier(text string) bool {
	for i, c := range []byte(text) {
		letter := 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return 1 <= len(text) && len(text) <= 64
}

// isConditionText is what §8.3 demands of the characters of a condition, and §3 of a schema's.
func isConditionText(text string, sizeMax int) bool {
	for _, c := range text {
		if isControl(c) && c != '\t' && c != '\n' && c != '\r' || isInvisible(c) {
			return false
		}
	}
	return 1 <= len(text) && len(text) <= sizeMax
}

func isReason(text string) bool {
	for _, c := range text {
		if isControl(c) {
			return false
		}
	}
	return len(text) <= 512
}

// place is one {…} of a template.
type place struct{ start, end int }

// placesOf are the places of a template (§3.2).
func placesOf(template string) ([]place, bool) {
	if len(template) > 256 {
		return nil, false
	}
	var places []place
	var filled strings.Builder
	at := 0
	for at < len(template) {
		switch template[at] {
		case '}':
			return nil, false
		case '{':
			length := strings.IndexByte(template[at:], '}')
			if length < 0 {
				return nil, false
			}
			p := place{at, at + length + 1}
			word := template[p.start+1 : p.end-1]
			argument := strings.TrimPrefix(word, "args.")
			if word != "agent" && word != "action" && word != "resource" && (argument == word || !isIdentifier(argument)) {
				return nil, false
			}
			if len(places) > 0 && !strings.Contains(template[places[len(places)-1].end:p.start], "/") {
				return nil, false
			}
			places = append(places, p)
			filled.WriteByte('x')
			at = p.end
		default:
			filled.WriteByte(template[at])
			at++
		}
	}
	return places, isName(filled.String())
}

func isTemplate(text string) bool {
	_, ok := placesOf(text)
	return ok
}
