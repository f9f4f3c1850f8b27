package formats

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func signerOf(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(label string) []byte { return signerOf(label).Public().(ed25519.PublicKey) }

func vkeyOf(name string, kind byte, public []byte) string {
	id := noteKeyID(name, kind, public)
	key := append([]byte{kind}, public...)
	return name + "+" + hex.EncodeToString([]byte(id)) + "+" + base64.StdEncoding.EncodeToString(key)
}

const checkpointText = "chancery.test/log\n1000\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"

// lineOf is a cosignature's line.
func lineOf(name, label string, at uint64, text string) string {
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)
	signature := binary.BigEndian.AppendUint64([]byte(noteKeyID(name, cosignature, publicOf(label))), at)
	signature = append(signature, ed25519.Sign(signerOf(label), []byte(message))...)
	return "— " + name + " " + base64.StdEncoding.EncodeToString(signature) + "\n"
}

func byNode(label string, at uint64) string {
	return lineOf("chancery.test/log/"+label, label, at, checkpointText)
}

func byWitness(label string, at uint64) string { return lineOf(label, label, at, checkpointText) }

// spoiled has another signature.
func spoiled(line string) string {
	at := len(line) - 20
	other := "A"
	if line[at] == 'A' {
		other = "B"
	}
	return line[:at] + other + line[at+1:]
}

// trustOfWitnesses is two of the nodes a, b and c, and this.
func trustOfWitnesses(t *testing.T, besides string) (*Trust, error) {
	t.Helper()
	file := "origin = \"chancery.test/log\"\nledger = \"" + strings.Repeat("ab", 32) + "\"\nclock_skew_ms_max = 500\n[roster]\nquorum = 2\n"
	for i, label := range []string{"a", "b", "c"} {
		file += fmt.Sprintf("[[roster.voters]]\nnode = %d\nname = %q\nkey = \"%x\"\n", i+1, label, publicOf(label))
	}
	return ReadTrust([]byte(file + besides))
}

func witnessesTable(quorum int, vkeys ...string) string {
	return fmt.Sprintf("[witnesses]\nquorum = %d\nkeys = [\"%s\"]\n", quorum, strings.Join(vkeys, "\", \""))
}

var (
	w1 = vkeyOf("w1", cosignature, publicOf("w1"))
	w2 = vkeyOf("w2", cosignature, publicOf("w2"))
)

func TestTrustFileOfWitnesses(t *testing.T) {
	for name, besides := range map[string]string{
		"none":                 "",
		"one":                  witnessesTable(1, w1),
		"two":                  witnessesTable(2, w1, w2),
		"a comma at the end":   "[witnesses]\nquorum = 1\nkeys = [ \"" + w1 + "\", ] # ours",
		"two with one's name":  witnessesTable(1, w1, vkeyOf("w1", cosignature, publicOf("w2"))),
		"before nothing":       witnessesTable(1, w1) + "\n\n",
		"of a name with a dot": witnessesTable(1, vkeyOf("w.example/1", cosignature, publicOf("w1"))),
	} {
		_, err := trustOfWitnesses(t, besides)
		same(t, name, errorText(err), "")
	}
	for name, besides := range map[string]string{
		"no keys":            "[witnesses]\nquorum = 1\nkeys = []\n",
		"nothing":            "[witnesses]\n",
		"a quorum of none":   witnessesTable(0, w1),
		"too few":            witnessesTable(2, w1),
		"one twice":          witnessesTable(1, w1, w1),
		"one key twice":      witnessesTable(1, w1, vkeyOf("w3", cosignature, publicOf("w1"))),
		"a voter's key":      witnessesTable(1, vkeyOf("w1", cosignature, publicOf("b"))),
		"a log's key":        witnessesTable(1, vkeyOf("w1", 1, publicOf("w1"))),
		"another's id":       witnessesTable(1, strings.Replace(w1, "w1+", "w3+", 1)),
		"a small order":      witnessesTable(1, vkeyOf("w1", cosignature, make([]byte, 32))),
		"a name with a plus": witnessesTable(1, vkeyOf("w+1", cosignature, publicOf("w1"))),
		"a table twice":      witnessesTable(1, w1) + "[witnesses]\n",
		"a member more":      witnessesTable(1, w1) + "url = \"x\"\n",
		"a number for a key": "[witnesses]\nquorum = 1\nkeys = [1]\n",
		"a text for a list":  "[witnesses]\nquorum = 1\nkeys = \"" + w1 + "\"\n",
	} {
		_, err := trustOfWitnesses(t, besides)
		same(t, name, errorText(err), "malformed")
	}
}

func TestTrustedCheckpoints(t *testing.T) {
	trust, err := trustOfWitnesses(t, witnessesTable(1, w1, w2))
	same(t, "the trust", errorText(err), "")
	all := byNode("a", 10) + byNode("b", 20) + byNode("c", 30) + byWitness("w1", 15) + byWitness("w2", 40)
	stranger := byWitness("w3", 1) + byWitness("chancery.test/log/a", 1)
	for name, c := range map[string]struct {
		lines  string
		enough uint64
		err    string
	}{
		"of all":               {all, 20, ""},
		"of enough":            {byNode("a", 10) + byNode("c", 30) + byWitness("w2", 40), 40, ""},
		"of strangers too":     {stranger + all, 20, ""},
		"of one node":          {byNode("a", 10) + byWitness("w1", 15), 0, "too_few_nodes"},
		"of no witness":        {byNode("a", 10) + byNode("b", 20) + stranger, 0, "too_few_witnesses"},
		"a node twice":         {all + byNode("a", 11), 0, "bad_cosignature"},
		"a witness twice":      {all + byWitness("w1", 15), 0, "bad_cosignature"},
		"a bad one of a node":  {spoiled(byNode("a", 10)) + byNode("b", 20) + byNode("c", 30) + byWitness("w1", 15), 0, "bad_cosignature"},
		"of another text":      {byNode("a", 10) + byNode("b", 20) + lineOf("w1", "w1", 15, checkpointText+"x\n"), 0, "bad_cosignature"},
		"of no time":           {byNode("a", 0) + byNode("b", 20) + byWitness("w1", 15), 0, "bad_cosignature"},
		"of too late a time":   {byNode("a", 1<<63) + byNode("b", 20) + byWitness("w1", 15), 0, "bad_cosignature"},
		"by a name of another": {byNode("a", 10) + lineOf("chancery.test/other/b", "b", 20, checkpointText) + byWitness("w1", 15), 0, "too_few_nodes"},
	} {
		read, err := ReadCheckpoint([]byte(checkpointText + "\n" + c.lines))
		same(t, name, errorText(err), "")
		trusted, err := trust.VerifyCheckpoint(read, trust.Genesis())
		same(t, name, errorText(err), c.err)
		if err == nil {
			same(t, name, trusted.EnoughByS, c.enough)
		}
	}
	other := strings.Replace(checkpointText, "test", "else", 1)
	read, err := ReadCheckpoint([]byte(other + "\n" + all))
	same(t, "of another log", errorText(err), "")
	_, err = trust.VerifyCheckpoint(read, trust.Genesis())
	same(t, "of another log", errorText(err), "other_origin")
}

func TestMalformedCheckpoints(t *testing.T) {
	line := byNode("a", 10)
	for name, note := range map[string]string{
		"no line":            checkpointText + "\n",
		"no empty line":      checkpointText + line,
		"cut short":          checkpointText + "\n" + line[:len(line)-1],
		"an extension":       checkpointText + "more\n\n" + line,
		"a size with a zero": strings.Replace(checkpointText, "1000", "01000", 1) + "\n" + line,
		"a size too large":   strings.Replace(checkpointText, "1000", "9223372036854775808", 1) + "\n" + line,
		"a short root":       strings.Replace(checkpointText, "47DE", "", 1) + "\n" + line,
		"an empty log's":     strings.Replace(checkpointText, "\n1000\n47D", "\n0\n57D", 1) + "\n" + line,
		"a tab":              strings.Replace(checkpointText, "test", "te\tst", 1) + "\n" + line,
		"another dash":       checkpointText + "\n" + strings.Replace(line, "—", "-", 1),
		"no signature":       checkpointText + "\n— a AAAAAA==\n",
		"too many lines":     checkpointText + "\n" + strings.Repeat(line, 97),
		"too long":           checkpointText + "\n" + "— a " + strings.Repeat("AAAA", 1<<16) + "\n",
	} {
		_, err := ReadCheckpoint([]byte(note))
		same(t, name, errorText(err), "malformed")
	}
	_, err := ReadCheckpoint([]byte(checkpointText + "\n" + strings.Repeat(line, 96)))
	same(t, "as many lines as may be", errorText(err), "")
}

type checkpointVector struct {
	Name      string
	TrustFile string `json:"trust_file"`
	Sets      []struct {
		Quorum uint32
		Voters []struct {
			Node      uint64
			Name, Key string
		}
	}
	Note  string
	Shows struct {
		// Each a node and a time.
		Nodes [][2]uint64
		// Each a key and a time.
		Witnesses [][2]any
		EnoughByS uint64 `json:"enough_by_s"`
		Error     string
	}
}

func TestCheckpointVectors(t *testing.T) {
	each(t, known.Checkpoints, func(c checkpointVector) string { return c.Name }, func(t *testing.T, c checkpointVector) {
		trust, err := ReadTrust([]byte(c.TrustFile))
		if err != nil {
			t.Fatal(err)
		}
		var sets []*VoterSet
		for _, set := range c.Sets {
			made := &VoterSet{Quorum: set.Quorum}
			for _, voter := range set.Voters {
				key, err := hex.DecodeString(voter.Key)
				if err != nil {
					t.Fatal(err)
				}
				made.Voters = append(made.Voters, &Voter{Node: voter.Node, Name: voter.Name, Key: key})
			}
			sets = append(sets, made)
		}
		var cosigned *Cosigned
		checkpoint, err := ReadCheckpoint([]byte(c.Note))
		if err == nil {
			cosigned, err = trust.VerifyCheckpoint(checkpoint, sets)
		}
		expected := c.Shows.Error
		if expected == "invalid" || expected == "twice" {
			// What ours tells apart, the document does not.
			expected = "bad_cosignature"
		}
		same(t, "error", errorText(err), expected)
		if err != nil {
			return
		}
		var nodes []uint64
		for _, node := range c.Shows.Nodes {
			nodes = append(nodes, node[0])
		}
		var witnesses []string
		for _, witness := range c.Shows.Witnesses {
			name, _, _ := strings.Cut(witness[0].(string), "+")
			witnesses = append(witnesses, name)
		}
		same(t, "nodes", cosigned.Nodes, nodes)
		same(t, "witnesses", cosigned.Witnesses, witnesses)
		same(t, "enough by", cosigned.EnoughByS, c.Shows.EnoughByS)
	})
}
