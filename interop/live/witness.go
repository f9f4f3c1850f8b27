package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	formatsnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// omniwitness is one that others wrote. It runs on loopback, and knows our log by its key.
type omniwitness struct {
	program, folder, address string
	vkey                     string
	key                      note.Verifier
	running                  *exec.Cmd
	// What it has seen, and cosigned last.
	seen     tlog.Tree
	cosigned int
}

func newWitness(program, folder string) (*omniwitness, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	secret, public, err := note.GenerateKey(rand.Reader, "witness.localhost/omniwitness")
	if err != nil {
		return nil, err
	}
	o := &omniwitness{program: program, folder: folder, address: fmt.Sprintf("127.0.0.1:%d", port)}
	if o.vkey, err = formatsnote.VKeyToCosignatureV1(public); err != nil {
		return nil, err
	}
	if o.key, err = formatsnote.NewVerifierForCosignatureV1(o.vkey); err != nil {
		return nil, err
	}
	return o, os.WriteFile(filepath.Join(folder, "witness.key"), []byte(secret), 0o600)
}

// start tells it of our log.
func (o *omniwitness) start(ctx context.Context, log *knownLog) error {
	logs := fmt.Sprintf("Logs:\n  - Origin: %s\n    PublicKey: %s\n    URL: http://127.0.0.1/\n", log.origin, log.vkey)
	file := filepath.Join(o.folder, "witness.yaml")
	if err := os.WriteFile(file, []byte(logs), 0o600); err != nil {
		return err
	}
	said, err := os.Create(filepath.Join(o.folder, "witness.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	o.running = exec.Command(o.program, "--listen", o.address,
		"--metrics_listen", "", "--private_key_path", filepath.Join(o.folder, "witness.key"), "--additional_logs", file)
	o.running.Stderr = said
	if err := o.running.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		if connection, err := net.Dial("tcp", o.address); err == nil {
			return connection.Close()
		}
	}
	return errors.New("the witness does not listen")
}

func (o *omniwitness) stop() {
	if o.running != nil {
		_ = o.running.Process.Kill()
		_ = o.running.Wait()
	}
}

// follow pushes what is newest to it, with the proof that the log only grew since.
func (o *omniwitness) follow(ctx context.Context, w *watcher) error {
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		if newest := w.latest(); newest != nil && newest.N > o.seen.N {
			if err := o.push(ctx, w, newest); err != nil {
				return err
			}
		}
	}
	return nil
}

// push is c2sp.org/tlog-witness' add-checkpoint.
func (o *omniwitness) push(ctx context.Context, w *watcher, read *checkpoint) error {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", o.seen.N)
	if o.seen.N > 0 && o.seen.N < read.N {
		proof, err := o.proof(ctx, w, read)
		if err != nil {
			return err
		}
		for _, hash := range proof {
			fmt.Fprintln(&body, base64.StdEncoding.EncodeToString(hash[:]))
		}
	}
	fmt.Fprintf(&body, "\n%s", read.raw)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.address+"/add-checkpoint", &body)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 16<<10))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the witness answers %s to a log of %d entries after %d: %s", response.Status, read.N, o.seen.N, said)
	}
	signed, err := note.Open(append(bytes.Clone(read.raw), said...), note.VerifierList(w.log.key, o.key))
	if err != nil {
		return fmt.Errorf("what the witness signed: %w", err)
	}
	for _, s := range signed.Sigs {
		if s.Name == o.key.Name() {
			o.seen = read.Tree
			o.cosigned++
			return nil
		}
	}
	return errors.New("the witness accepted a checkpoint and did not sign it")
}

func (o *omniwitness) proof(ctx context.Context, w *watcher, read *checkpoint) (tlog.TreeProof, error) {
	var last error
	// Of the nodes, one may be down.
	for _, url := range w.urls {
		proof, err := tlog.ProveTree(read.N, o.seen.N, tiles{ctx, url}.hashes(read.Tree))
		if err == nil {
			return proof, nil
		}
		last = err
	}
	return nil, last
}
