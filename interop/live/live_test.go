package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/interop/verify/formats"

	formatsnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A log in memory, with nodes that sign whatever it says: what is refused here is refused for that alone.

const testOrigin = "chancery.test/log"

type testNode struct {
	note.Signer
	vkey, publicKey string
}

type testHouse struct {
	logKey note.Signer
	vkey   string
	nodes  []testNode
	log    *knownLog
}

func newHouse(t *testing.T) *testHouse {
	t.Helper()
	secret, vkey, err := note.GenerateKey(rand.Reader, testOrigin)
	check(t, err)
	h := &testHouse{vkey: vkey}
	h.logKey, err = note.NewSigner(secret)
	check(t, err)
	for i := range nodes {
		h.nodes = append(h.nodes, newNode(t, fmt.Sprintf("node-%d", i+1)))
	}
	h.log, err = readPolicy(h.policy(2, h.nodes...), h.trust(t))
	check(t, err)
	return h
}

func newNode(t *testing.T, name string) testNode {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	vkey, err := note.NewEd25519VerifierKey(testOrigin+"/"+name, public)
	check(t, err)
	hash := strings.Split(vkey, "+")[1]
	seed := base64.StdEncoding.EncodeToString(append([]byte{1}, private.Seed()...))
	signer, err := formatsnote.NewSignerForCosignatureV1(fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", testOrigin+"/"+name, hash, seed))
	check(t, err)
	vkey, err = formatsnote.VKeyToCosignatureV1(vkey)
	check(t, err)
	return testNode{signer, vkey, fmt.Sprintf("%x", []byte(public))}
}

func (h *testHouse) trust(t *testing.T) *formats.Trust {
	t.Helper()
	var file strings.Builder
	fmt.Fprintf(&file, "origin = %q\nledger = %q\nclock_skew_ms_max = 500\n[roster]\nquorum = 2\n", testOrigin, strings.Repeat("ab", 32))
	for i, node := range h.nodes {
		fmt.Fprintf(&file, "[[roster.voters]]\nnode = %d\nname = \"node-%d\"\nkey = %q\n", i+1, i+1, node.publicKey)
	}
	trust, err := formats.ReadTrust([]byte(file.String()))
	check(t, err)
	return trust
}

func (h *testHouse) policy(quorum int, of ...testNode) string {
	policy := "log " + h.vkey + "\n\n"
	var names []string
	for _, node := range of {
		policy += fmt.Sprintf("witness %s %s\n", node.Name(), node.vkey)
		names = append(names, node.Name())
	}
	return policy + fmt.Sprintf("group roster %d %s\nquorum roster\n", quorum, strings.Join(names, " "))
}

// hashes of a log whose entries are those.
func hashes(t *testing.T, entries []string) (tlog.Tree, tlog.HashReader) {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indices []int64) (read []tlog.Hash, err error) {
		for _, index := range indices {
			read = append(read, stored[index])
		}
		return read, nil
	})
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), []byte(entry), reader)
		check(t, err)
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(int64(len(entries)), reader)
	check(t, err)
	return tlog.Tree{N: int64(len(entries)), Hash: root}, reader
}

func (h *testHouse) checkpoint(t *testing.T, tree tlog.Tree, origin string, signers ...note.Signer) []byte {
	t.Helper()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
	raw, err := note.Sign(&note.Note{Text: text}, signers...)
	check(t, err)
	return raw
}

// serve the tiles of a log.
func serve(t *testing.T, entries []string) string {
	t.Helper()
	_, reader := hashes(t, entries)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tile, err := tlog.ParseTilePath(strings.Replace(r.URL.Path[1:], "tile/", "tile/8/", 1))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

func entries(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("entry ", i))
	}
	return all
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("not refused because of %q: %v", why, err)
	}
}

func TestAPolicyIsTheTrustFiles(t *testing.T) {
	h := newHouse(t)
	stranger := newNode(t, "node-3")
	for why, policy := range map[string]string{
		"is not in the trust file":    h.policy(2, h.nodes[0], h.nodes[1], stranger),
		"the policy has 2 nodes":      h.policy(2, h.nodes[:2]...),
		"the policy wants 1":          h.policy(1, h.nodes...),
		"the log's key is called":     strings.Replace(h.policy(2, h.nodes...), h.vkey, otherKey(t), 1),
		"the policy: unknown keyword": h.policy(2, h.nodes...) + "besides\n",
	} {
		_, err := readPolicy(policy, h.trust(t))
		refused(t, err, why)
	}
}

func otherKey(t *testing.T) string {
	_, vkey, err := note.GenerateKey(rand.Reader, "chancery.test/other")
	check(t, err)
	return vkey
}

func TestACheckpointHasAQuorum(t *testing.T) {
	h := newHouse(t)
	tree, _ := hashes(t, entries(3))
	read, err := h.log.open(h.checkpoint(t, tree, testOrigin, h.logKey, h.nodes[0], h.nodes[2]))
	check(t, err)
	if read.Tree != tree {
		t.Errorf("read as %v", read.Tree)
	}
	_, err = h.log.open(h.checkpoint(t, tree, testOrigin, h.logKey, h.nodes[0]))
	refused(t, err, "no quorum")
	_, err = h.log.open(h.checkpoint(t, tree, testOrigin, h.logKey, h.nodes[0], newNode(t, "node-2")))
	refused(t, err, "no quorum")
	_, err = h.log.open(h.checkpoint(t, tree, testOrigin, h.nodes[0], h.nodes[1]))
	refused(t, err, "no log signature")
	_, err = h.log.open(h.checkpoint(t, tree, "chancery.test/other", h.logKey, h.nodes[0], h.nodes[1]))
	refused(t, err, "Origin")
}

func TestALogOnlyGrows(t *testing.T) {
	before, _ := hashes(t, entries(300))
	now, _ := hashes(t, entries(700))
	check(t, grew(tiles{t.Context(), serve(t, entries(700))}, before, now))
	check(t, grew(tiles{t.Context(), "http://127.0.0.1:1/"}, now, now))

	changed := entries(700)
	changed[17] = "another"
	other, _ := hashes(t, changed)
	refused(t, grew(tiles{t.Context(), serve(t, changed)}, before, other), "from 300 to 700")
	refused(t, grew(tiles{t.Context(), serve(t, entries(700))}, before, other), "from 300 to 700")
	refused(t, grew(tiles{}, now, other), "two logs of 700")
}

func TestANodeThatGoesBackIsFound(t *testing.T) {
	h := newHouse(t)
	all := entries(9)
	served := 9
	tilesAt := serve(t, all)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/checkpoint" {
			http.Redirect(w, r, tilesAt+r.URL.Path[1:], http.StatusFound)
			return
		}
		tree, _ := hashes(t, all[:served])
		w.Write(h.checkpoint(t, tree, testOrigin, h.logKey, h.nodes[0], h.nodes[1]))
		served--
	}))
	defer server.Close()
	w := &watcher{log: h.log, urls: []string{server.URL + "/"}, trees: map[int64]tlog.Hash{}}
	refused(t, w.node(t.Context(), 0), "went back from 9 entries to 8")
}

func TestPrefixesOfAnotherLogAreFound(t *testing.T) {
	changed := entries(9)
	changed[3] = "another"
	now, _ := hashes(t, entries(20))
	before, _ := hashes(t, entries(9))
	other, _ := hashes(t, changed)
	w := &watcher{urls: []string{serve(t, entries(20))}, trees: map[int64]tlog.Hash{9: before.Hash, 20: now.Hash}}
	check(t, w.allPrefixes(t.Context(), &checkpoint{Tree: now}))
	w.trees[9] = other.Hash
	refused(t, w.allPrefixes(t.Context(), &checkpoint{Tree: now}), "a checkpoint of 9 entries is of another log")
}

func TestAProofIsOfItsEntry(t *testing.T) {
	h := newHouse(t)
	all := entries(300)
	tree, _ := hashes(t, all)
	raw := h.checkpoint(t, tree, testOrigin, h.logKey, h.nodes[0], h.nodes[1])
	made, err := tlogProof(tiles{t.Context(), serve(t, all)}, &checkpoint{Tree: tree, raw: raw}, 256)
	check(t, err)
	file := filepath.Join(t.TempDir(), "256.tlog-proof")
	write := func(written string) {
		check(t, os.WriteFile(file, []byte(written), 0o600))
	}
	write(string(made))
	check(t, checkTlogProof(h.log, file, []byte(all[256])))
	refused(t, checkTlogProof(h.log, file, []byte(all[255])), "invalid")
	write(strings.Replace(string(made), "index 256", "index 257", 1))
	refused(t, checkTlogProof(h.log, file, []byte(all[256])), "invalid")
	write(strings.Replace(string(made), "index 256", "index 300", 1))
	refused(t, checkTlogProof(h.log, file, []byte(all[256])), "beyond")
	write(strings.Replace(string(made), "\n300\n", "\n301\n", 1))
	refused(t, checkTlogProof(h.log, file, []byte(all[256])), "verify signatures")
}

// Files that our own tests write, byte for byte: `ledger/src/checkpoint/tests`.
func TestAProofOfOurs(t *testing.T) {
	folder := "../../ledger/src/checkpoint/tests/"
	policy, err := os.ReadFile(folder + "300.tlog-policy")
	check(t, err)
	log, _, err := parsePolicy(string(policy))
	check(t, err)
	entry := binary.BigEndian.AppendUint32(nil, 300)
	for _, file := range []string{"300.tlog-proof", "300-extra.tlog-proof"} {
		check(t, checkTlogProof(log, folder+file, entry))
		refused(t, checkTlogProof(log, folder+file, binary.BigEndian.AppendUint32(nil, 301)), "invalid")

		written, err := os.ReadFile(folder + file)
		check(t, err)
		var read proof.TLogProof
		check(t, read.Unmarshal(written))
		if again := read.Marshal(); !bytes.Equal(again, written) {
			t.Errorf("written again, %s is\n%s", file, again)
		}
	}
}

func TestAnEntryThatIsNotPublishedIsMissed(t *testing.T) {
	long := 2 * checkpointBehindMax
	now := time.Now()
	w := &watcher{grown: []grown{{10, now.Add(-long)}, {20, now}}}
	behind, err := w.behind([]acknowledged{{9, now.Add(-long - time.Second)}, {10, now.Add(-2 * time.Second)}})
	check(t, err)
	if behind != 2*time.Second {
		t.Errorf("behind by %v", behind)
	}
	_, err = w.behind([]acknowledged{{20, now.Add(-long)}})
	refused(t, err, "the entry at index 20 is in no checkpoint")
	_, err = w.behind([]acknowledged{{15, now.Add(-long)}})
	refused(t, err, "was in no checkpoint for")
}

func TestAPortThatWasGivenIsLeftAlone(t *testing.T) {
	first, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	second, err := freePortOf(func() int {
		if asked++; asked == 1 {
			return first
		}
		return 20_000 + asked
	})
	if err != nil || second == first {
		t.Fatal(second, err)
	}
	// Whoever it was given to can listen there.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}
