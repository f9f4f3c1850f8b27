package formats

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// §10.

// Trust is what a verifier was given, and what chains proved to it since.
type Trust struct {
	Origin         string
	Ledger         Hash
	ClockSkewMsMax uint64
	Witnesses      *Witnesses // none, if a checkpoint needs none
	minimumBlock   uint64
	minimumRoster  RosterID
	rosters        []provenRoster // genesis' first
}

const trustSizeMax = 262_144

// ReadTrust reads a trust file: of TOML, tables, basic strings without escapes and lists of these in one line, decimal integers
// and comments.
func ReadTrust(file []byte) (*Trust, error) {
	if len(file) > trustSizeMax || !utf8.Valid(file) {
		return nil, malformed
	}
	tables, voters, ok := parseTables(string(file))
	if !ok {
		return nil, malformed
	}
	t := &Trust{}
	top, roster := tables[""], tables["roster"]
	if roster == nil {
		return nil, malformed
	}
	t.Origin = top.text("origin")
	t.Ledger = top.hash("ledger")
	t.ClockSkewMsMax = top.integer("clock_skew_ms_max")
	if top.has("minimum_block") {
		t.minimumBlock = top.integer("minimum_block")
	}
	set := &VoterSet{Quorum: uint32(min(roster.integer("quorum"), 1<<16))}
	for _, v := range voters {
		key := v.hash("key")
		set.Voters = append(set.Voters, &Voter{Node: v.integer("node"), Name: v.text("name"), Key: key[:]})
		if !v.done() {
			return nil, malformed
		}
	}
	genesis := &Roster{Sets: []*VoterSet{set}}
	if !genesis.isWellFormed() {
		return nil, malformed
	}
	t.rosters = []provenRoster{{RosterID{0, genesis.digest()}, genesis}}
	t.minimumRoster = t.rosters[0].id
	if top.has("minimum_roster") {
		t.minimumRoster, ok = parseRosterID(top.text("minimum_roster"))
		if !ok {
			return nil, malformed
		}
	}
	if witnesses := tables["witnesses"]; witnesses != nil {
		t.Witnesses = witnesses.witnesses()
		for _, witness := range t.Witnesses.Keys {
			for _, voter := range set.Voters {
				witnesses.bad = witnesses.bad || bytes.Equal(witness.Key, voter.Key)
			}
		}
		roster.bad = roster.bad || !witnesses.done()
	}
	if !top.done(roster) {
		return nil, malformed
	}
	return t, nil
}

func parseRosterID(text string) (RosterID, bool) {
	parts := strings.Split(text, "@")
	if len(parts) != 2 {
		return RosterID{}, false
	}
	digest, err := parseHex(parts[0], 32)
	block, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || err2 != nil || strconv.FormatUint(block, 10) != parts[1] {
		return RosterID{}, false
	}
	return RosterID{block, Hash(digest)}, true
}

// parseTables has the tables by name, the top one's empty, and the elements of the one array of tables.
func parseTables(text string) (map[string]*members, []*members, bool) {
	table := &members{left: map[string]*jsonValue{}}
	tables := map[string]*members{"": table}
	var voters []*members
	for _, line := range strings.Split(text, "\n") {
		line, ok := withoutComment(strings.TrimSuffix(line, "\r"))
		if !ok {
			return nil, nil, false
		}
		switch {
		case line == "":
		case line == "[[roster.voters]]":
			table = &members{left: map[string]*jsonValue{}}
			voters = append(voters, table)
		case line == "[roster]" && tables["roster"] == nil && len(voters) == 0, line == "[witnesses]" && tables["witnesses"] == nil:
			table = &members{left: map[string]*jsonValue{}}
			tables[strings.Trim(line, "[]")] = table
		default:
			name, value, found := strings.Cut(line, "=")
			name = strings.Trim(name, " \t")
			parsed := tomlValue(strings.Trim(value, " \t"))
			if !found || parsed == nil || table.has(name) {
				return nil, nil, false
			}
			table.left[name] = parsed
		}
	}
	return tables, voters, true
}

// withoutComment is a line without what begins at a # outside of texts; not if it has control characters.
func withoutComment(line string) (string, bool) {
	quoted := false
	for i, c := range line {
		switch {
		case isControl(c) && c != '\t':
			return "", false
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted:
			return strings.Trim(line[:i], " \t"), true
		}
	}
	return strings.Trim(line, " \t"), true
}

func tomlValue(text string) *jsonValue {
	if inner := strings.TrimPrefix(text, "["); inner != text {
		return tomlList(inner)
	}
	if inner := strings.TrimPrefix(text, `"`); inner != text {
		value := strings.TrimSuffix(inner, `"`)
		if value == inner || strings.ContainsAny(value, `"\`) {
			return nil
		}
		return &jsonValue{kind: jsonText, text: value}
	}
	if value, err := strconv.ParseUint(text, 10, 64); err != nil || strconv.FormatUint(value, 10) != text {
		return nil
	}
	return &jsonValue{kind: jsonNumber, text: text}
}

// tomlList is one of texts, in one line: what is behind its bracket. None of what may be in them has a comma.
func tomlList(text string) *jsonValue {
	inner := strings.TrimSuffix(text, "]")
	if inner == text {
		return nil
	}
	list := &jsonValue{kind: jsonList}
	items := strings.Split(inner, ",")
	for i, item := range items {
		item = strings.Trim(item, " \t")
		if item == "" && i == len(items)-1 {
			continue // A comma may be behind the last.
		}
		value := tomlValue(item)
		if value == nil || value.kind != jsonText {
			return nil
		}
		list.items = append(list.items, value)
	}
	return list
}

// FromGenesis is a trust in the same ledger that has the genesis roster alone, and no minimum: evidence does not become
// false when its reader learns more.
func (t *Trust) FromGenesis() *Trust {
	genesis := t.rosters[:1:1]
	return &Trust{Origin: t.Origin, Ledger: t.Ledger, ClockSkewMsMax: t.ClockSkewMsMax, Witnesses: t.Witnesses,
		minimumRoster: genesis[0].id, rosters: genesis}
}

// Genesis are the voters of block 0.
func (t *Trust) Genesis() []*VoterSet { return t.rosters[0].roster.Sets }
