package formats

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// §4.1: published checkpoints, and who cosigned them.

const (
	noteSizeMax       = 262_144
	signatureLinesMax = 96
	keyNameSizeMax    = 255
	cosignature       = 4
	cosignatureSize   = 8 + 64
	witnessesMax      = 16
)

// Cosigner is a key for cosignatures, and the name that it signs under.
type Cosigner struct {
	Name string
	Key  []byte
}

// Witnesses must have cosigned a checkpoint besides the nodes.
type Witnesses struct {
	Quorum int
	Keys   []Cosigner
}

// Checkpoint is the text of a note, and the lines that sign it. Nothing is verified yet.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
	text   string
	lines  []signatureLine
}

type signatureLine struct {
	name, id  string
	signature []byte
}

// Cosigned is who cosigned a checkpoint that is trusted, and the first second at which these were enough.
type Cosigned struct {
	Nodes     []uint64
	Witnesses []string
	EnoughByS uint64
}

func noteKeyID(name string, kind byte, key []byte) string {
	digest := sha256.Sum256(append([]byte(name+"\n"+string([]byte{kind})), key...))
	return string(digest[:4])
}

func isKeyName(name string) bool {
	return name != "" && len(name) <= keyNameSizeMax && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(c rune) bool { return unicode.IsSpace(c) || c == '+' || c < ' ' })
}

func parseCosigner(vkey string) (Cosigner, bool) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, found := strings.Cut(rest, "+")
	key, err := parseBase64(encoded)
	if !found || err != nil || !isKeyName(name) || len(key) != 33 || key[0] != cosignature || isSmallOrder(key[1:]) {
		return Cosigner{}, false
	}
	return Cosigner{name, key[1:]}, hex.EncodeToString([]byte(noteKeyID(name, cosignature, key[1:]))) == id
}

func (v *Voter) cosigner(origin string) Cosigner { return Cosigner{origin + "/" + v.Name, v.Key} }

func (w *members) witnesses() *Witnesses {
	read := &Witnesses{Quorum: int(min(w.integer("quorum"), 1<<16))}
	keys := map[string]bool{}
	for _, item := range w.list("keys") {
		cosigner, ok := parseCosigner(item.text)
		if item.kind != jsonText || !ok || keys[string(cosigner.Key)] {
			w.bad = true
			return read
		}
		keys[string(cosigner.Key)] = true
		read.Keys = append(read.Keys, cosigner)
	}
	if len(read.Keys) < 1 || len(read.Keys) > witnessesMax || read.Quorum < 1 || read.Quorum > len(read.Keys) {
		w.bad = true
	}
	return read
}

// ReadCheckpoint reads a signed checkpoint.
func ReadCheckpoint(note []byte) (*Checkpoint, error) {
	at := strings.LastIndex(string(note), "\n\n")
	if len(note) > noteSizeMax || !utf8.Valid(note) || at < 0 || note[len(note)-1] != '\n' {
		return nil, malformed
	}
	c := &Checkpoint{text: string(note[:at+1])}
	if strings.ContainsFunc(c.text, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return nil, malformed
	}
	lines := strings.Split(strings.TrimSuffix(string(note[at+2:]), "\n"), "\n")
	if len(lines) > signatureLinesMax {
		return nil, malformed
	}
	for _, line := range lines {
		name, encoded, found := strings.Cut(strings.TrimPrefix(line, "— "), " ")
		signature, err := parseBase64(encoded)
		if !found || err != nil || !strings.HasPrefix(line, "— ") || !isKeyName(name) || len(signature) < 5 {
			return nil, malformed
		}
		c.lines = append(c.lines, signatureLine{name, string(signature[:4]), signature[4:]})
	}
	if err := c.readText(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) readText() error {
	// Three lines, and the end of the last.
	lines := strings.Split(c.text, "\n")
	if len(lines) != 4 {
		return malformed
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	root, err2 := parseBase64(lines[2])
	if err != nil || err2 != nil || !isKeyName(lines[0]) || strconv.FormatUint(size, 10) != lines[1] || len(root) != 32 {
		return malformed
	}
	c.Origin, c.Size, c.Root = lines[0], size, Hash(root)
	if size == 0 && c.Root != sha256.Sum256(nil) {
		return malformed
	}
	return nil
}

// Why a checkpoint is not trusted.
const (
	otherOrigin     = Refusal("other_origin")
	badCosignature  = Refusal("bad_cosignature")
	tooFewNodes     = Refusal("too_few_nodes")
	tooFewWitnesses = Refusal("too_few_witnesses")
)

// VerifyCheckpoint is §4.1's trusted checkpoint, if these vote at its head.
func (t *Trust) VerifyCheckpoint(c *Checkpoint, sets []*VoterSet) (*Cosigned, error) {
	if c.Origin != t.Origin {
		return nil, otherOrigin
	}
	var trusted Cosigned
	known := map[string]bool{}
	timeOf := func(by Cosigner) (uint64, error) {
		if known[string(by.Key)] {
			return 0, badCosignature
		}
		known[string(by.Key)] = true
		return c.timeOf(by)
	}
	nodes, witnesses := map[uint64]uint64{}, []uint64{}
	for _, voter := range votersOf(sets) {
		at, err := timeOf(voter.cosigner(t.Origin))
		if err != nil {
			return nil, err
		}
		if at > 0 {
			nodes[voter.Node] = at
			trusted.Nodes = append(trusted.Nodes, voter.Node)
		}
	}
	demanded := 0
	if t.Witnesses != nil {
		demanded = t.Witnesses.Quorum
		for _, witness := range t.Witnesses.Keys {
			at, err := timeOf(witness)
			if err != nil {
				return nil, err
			}
			if at > 0 {
				witnesses = append(witnesses, at)
				trusted.Witnesses = append(trusted.Witnesses, witness.Name)
			}
		}
	}
	nodesSuffice := func(by uint64) bool {
		for _, set := range sets {
			count := 0
			for _, voter := range set.Voters {
				if at, ok := nodes[voter.Node]; ok && at <= by {
					count++
				}
			}
			if count < int(set.Quorum) {
				return false
			}
		}
		return true
	}
	witnessesSuffice := func(by uint64) bool {
		count := 0
		for _, at := range witnesses {
			if at <= by {
				count++
			}
		}
		return count >= demanded
	}
	if !nodesSuffice(timeMax) {
		return nil, tooFewNodes
	}
	if !witnessesSuffice(timeMax) {
		return nil, tooFewWitnesses
	}
	trusted.EnoughByS = timeMax
	times := witnesses
	for _, at := range nodes {
		times = append(times, at)
	}
	for _, at := range times {
		if nodesSuffice(at) && witnessesSuffice(at) {
			trusted.EnoughByS = min(trusted.EnoughByS, at)
		}
	}
	return &trusted, nil
}

const timeMax = 1<<63 - 1

// votersOf has a voter of both sets once.
func votersOf(sets []*VoterSet) (voters []*Voter) {
	seen := map[uint64]bool{}
	for _, set := range sets {
		for _, voter := range set.Voters {
			if !seen[voter.Node] {
				seen[voter.Node] = true
				voters = append(voters, voter)
			}
		}
	}
	return voters
}

// timeOf is when it cosigned, and 0 if it did not.
func (c *Checkpoint) timeOf(by Cosigner) (uint64, error) {
	id := noteKeyID(by.Name, cosignature, by.Key)
	at := uint64(0)
	for _, line := range c.lines {
		if line.name != by.Name || line.id != id {
			continue
		}
		if at > 0 || len(line.signature) != cosignatureSize {
			return 0, badCosignature
		}
		at = binary.BigEndian.Uint64(line.signature)
		message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, c.text)
		if at < 1 || at > timeMax || !verifySignature(by.Key, line.signature[8:], []byte(message)) {
			return 0, badCosignature
		}
	}
	return at, nil
}
