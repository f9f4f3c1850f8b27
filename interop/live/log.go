package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"chancery/interop/verify/formats"

	formatslog "github.com/transparency-dev/formats/log"
	formatsnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// knownLog is what an auditor knows of the log before reading any of it.
type knownLog struct {
	origin, vkey string
	key          note.Verifier
	nodes        []note.Verifier
	quorum       witness.Group
	trust        *formats.Trust
}

// checkpoint is one that the log signed and a quorum of the nodes cosigned.
type checkpoint struct {
	tlog.Tree
	raw []byte
	// times of the cosignatures.
	times []time.Time
}

// knownLog waits until every node serves a policy, and compares them with each other and with the trust file.
func (c *cluster) knownLog(ctx context.Context) (*knownLog, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var policy []byte
	for _, url := range c.urls() {
		var served []byte
		for served == nil {
			var err error
			if served, err = get(ctx, url+"tlog-policy"); err != nil && ctx.Err() != nil {
				return nil, err
			}
			pause(ctx, 100*time.Millisecond)
		}
		if policy != nil && !bytes.Equal(policy, served) {
			return nil, errors.New("two nodes serve different policies")
		}
		policy = served
	}
	file, err := os.ReadFile(c.trustFile())
	if err != nil {
		return nil, err
	}
	trust, err := formats.ReadTrust(file)
	if err != nil {
		return nil, fmt.Errorf("the trust file: %w", err)
	}
	return readPolicy(string(policy), trust)
}

// readPolicy is of the log and the nodes that the trust file says.
func readPolicy(policy string, trust *formats.Trust) (*knownLog, error) {
	log, vkeys, err := parsePolicy(policy)
	if err != nil {
		return nil, err
	}
	log.trust = trust
	if log.origin != trust.Origin {
		return nil, fmt.Errorf("the log's key is called %q", log.origin)
	}
	genesis := trust.Genesis()[0]
	var trusted []string
	for _, voter := range genesis.Voters {
		trusted = append(trusted, base64.StdEncoding.EncodeToString(append([]byte{cosignature}, voter.Key...)))
	}
	for i, vkey := range vkeys {
		name := log.nodes[i].Name()
		if _, key, _ := strings.Cut(strings.TrimPrefix(vkey, name+"+"), "+"); !slices.Contains(trusted, key) {
			return nil, fmt.Errorf("%s is not in the trust file", vkey)
		}
	}
	if len(log.nodes) != len(trusted) {
		return nil, fmt.Errorf("the policy has %d nodes, the trust file %d", len(log.nodes), len(trusted))
	}
	if log.quorum.N != int(genesis.Quorum) {
		return nil, fmt.Errorf("the policy wants %d cosignatures, the trust file %d", log.quorum.N, genesis.Quorum)
	}
	return log, nil
}

// parsePolicy has the nodes' keys as the policy writes them, too.
func parsePolicy(policy string) (log *knownLog, vkeys []string, err error) {
	log = &knownLog{}
	var forThem strings.Builder
	for line := range strings.Lines(policy) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "log":
			log.vkey = fields[1]
		case len(fields) == 3 && fields[0] == "witness":
			vkeys = append(vkeys, fields[2])
			// The library wants to know where to send checkpoints to. Nothing is sent to the nodes.
			line = strings.TrimSuffix(line, "\n") + " http://127.0.0.1/\n"
		}
		forThem.WriteString(line)
	}
	if log.key, err = note.NewVerifier(log.vkey); err != nil {
		return nil, nil, fmt.Errorf("the log's key: %w", err)
	}
	log.origin = log.key.Name()
	for _, vkey := range vkeys {
		verifier, err := formatsnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return nil, nil, fmt.Errorf("a node's key: %w", err)
		}
		log.nodes = append(log.nodes, verifier)
	}
	if log.quorum, err = witness.ParsePolicy([]byte(forThem.String())); err != nil {
		return nil, nil, fmt.Errorf("the policy: %w", err)
	}
	return log, vkeys, nil
}

// cosignature is the signature type of timestamped cosignatures.
const cosignature = 4

// open verifies the log's signature, every node's, and the quorum.
func (l *knownLog) open(raw []byte) (*checkpoint, error) {
	opened, rest, signed, err := formatslog.ParseCheckpoint(raw, l.origin, l.key, l.nodes...)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("a checkpoint with an extension: %q", rest)
	}
	if !l.quorum.Satisfied(raw) {
		return nil, fmt.Errorf("no quorum cosigned:\n%s", raw)
	}
	read := &checkpoint{Tree: tlog.Tree{N: int64(opened.Size), Hash: tlog.Hash(opened.Hash)}, raw: raw}
	for _, s := range signed.Sigs {
		if s.Name == l.origin {
			continue
		}
		at, err := formatsnote.CoSigV1Timestamp(s)
		if err != nil {
			return nil, err
		}
		read.times = append(read.times, at)
	}
	return read, nil
}

// clockOffMax is how far a cosignature's time may be from now, when a checkpoint is new.
const clockOffMax = time.Minute

// openNew is of one that was just served by a log that grows.
func (l *knownLog) openNew(raw []byte) (*checkpoint, error) {
	read, err := l.open(raw)
	if err != nil {
		return nil, err
	}
	for _, at := range read.times {
		if time.Since(at).Abs() > clockOffMax {
			return nil, fmt.Errorf("cosigned at %v", at)
		}
	}
	return read, nil
}

// tiles is one node's, or whatever else serves them.
type tiles struct {
	ctx context.Context
	url string
}

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range wanted {
		// There, the path says how high tiles are.
		one, err := get(t.ctx, t.url+strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		data = append(data, one)
	}
	return data, nil
}

// hashes are verified against the tree.
func (t tiles) hashes(of tlog.Tree) tlog.HashReader { return tlog.TileHashReader(of, t) }

// bodyMax is more than the largest bundle of entries.
const bodyMax = 32 << 20

// unreachable is no answer, or not all of one. A node that was killed gives none; that proves nothing.
type unreachable struct{ error }

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, unreachable{err}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyMax))
	if err != nil {
		return nil, unreachable{err}
	}
	return body, nil
}
