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

func readPolicy(policy string, trust *formats.Trust) (*knownLog, error) {
	log := &knownLog{origin: trust.Origin, trust: trust}
	var witnesses []string
	var forThem strings.Builder
	for line := range strings.Lines(policy) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "log":
			log.vkey = fields[1]
		case len(fields) == 3 && fields[0] == "witness":
			witnesses = append(witnesses, fields[2])
			// The library wants to know where to send checkpoints to. Nothing is sent to the nodes.
			line = strings.TrimSuffix(line, "\n") + " http://127.0.0.1/\n"
		}
		forThem.WriteString(line)
	}
	var err error
	if log.key, err = note.NewVerifier(log.vkey); err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	if log.key.Name() != log.origin {
		return nil, fmt.Errorf("the log's key is called %q", log.key.Name())
	}
	genesis := trust.Genesis()[0]
	var trusted []string
	for _, voter := range genesis.Voters {
		trusted = append(trusted, base64.StdEncoding.EncodeToString(append([]byte{cosignature}, voter.Key...)))
	}
	for _, vkey := range witnesses {
		verifier, err := formatsnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return nil, fmt.Errorf("a node's key: %w", err)
		}
		if _, key, _ := strings.Cut(strings.TrimPrefix(vkey, verifier.Name()+"+"), "+"); !slices.Contains(trusted, key) {
			return nil, fmt.Errorf("%s is not in the trust file", vkey)
		}
		log.nodes = append(log.nodes, verifier)
	}
	if len(log.nodes) != len(trusted) {
		return nil, fmt.Errorf("the policy has %d nodes, the trust file %d", len(log.nodes), len(trusted))
	}
	if log.quorum, err = witness.ParsePolicy([]byte(forThem.String())); err != nil {
		return nil, fmt.Errorf("the policy: %w", err)
	}
	if log.quorum.N != int(genesis.Quorum) {
		return nil, fmt.Errorf("the policy wants %d cosignatures, the trust file %d", log.quorum.N, genesis.Quorum)
	}
	return log, nil
}

// cosignature is the signature type of timestamped cosignatures.
const cosignature = 4

// clockOffMax is how far a cosignature's time may be from now, when a checkpoint has just been read.
const clockOffMax = time.Minute

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
	for _, s := range signed.Sigs {
		if s.Name == l.origin {
			continue
		}
		at, err := formatsnote.CoSigV1Timestamp(s)
		if err != nil {
			return nil, err
		}
		if time.Since(at).Abs() > clockOffMax {
			return nil, fmt.Errorf("%s cosigned at %v", s.Name, at)
		}
	}
	return &checkpoint{tlog.Tree{N: int64(opened.Size), Hash: tlog.Hash(opened.Hash)}, raw}, nil
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

// notServed is an answer, but not the file.
type notServed struct{ status string }

func (n *notServed) Error() string { return n.status }

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %w", url, &notServed{response.Status})
	}
	return io.ReadAll(io.LimitReader(response.Body, bodyMax))
}
