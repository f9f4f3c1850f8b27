package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"chancery/interop/verify/formats"

	formatsnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// omniwitness is one that others wrote. It runs on loopback, and knows our log by its key; the nodes give it their checkpoints.
type omniwitness struct {
	program, folder, address string
	vkey                     string
	key                      note.Verifier
	running                  *exec.Cmd

	mutex    sync.Mutex
	cosigned map[int64]bool
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
	o := &omniwitness{program: program, folder: folder, address: fmt.Sprintf("127.0.0.1:%d", port), cosigned: map[int64]bool{}}
	if o.vkey, err = formatsnote.VKeyToCosignatureV1(public); err != nil {
		return nil, err
	}
	if o.key, err = formatsnote.NewVerifierForCosignatureV1(o.vkey); err != nil {
		return nil, err
	}
	return o, os.WriteFile(filepath.Join(folder, "witness.key"), []byte(secret), 0o600)
}

// option is how `chancery init` is told of it: nodes ask it, and the trust file demands its cosignature.
func (o *omniwitness) option() string { return fmt.Sprintf("http://%s/=%s", o.address, o.vkey) }

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
	o.running = exec.Command(o.program, "--listen", o.address, "--metrics_listen", "",
		"--private_key_path", filepath.Join(o.folder, "witness.key"), "--additional_logs", file)
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
	if o.running != nil && o.running.Process != nil {
		_ = o.running.Process.Kill()
		_ = o.running.Wait()
	}
}

// follow reads what a node serves as witnessed. It is a checkpoint like others, and has the witness' cosignature besides.
func (o *omniwitness) follow(ctx context.Context, w *watcher, i int) error {
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		raw, err := get(ctx, w.urls[i]+"witnessed-checkpoint")
		if err != nil {
			continue
		}
		read, err := o.open(w.log, raw)
		if err == nil {
			err = w.holds(ctx, i, read)
		}
		if err != nil && ctx.Err() == nil && !errors.As(err, &unreachable{}) {
			return fmt.Errorf("node-%d, witnessed: %w", i+1, err)
		}
	}
	return nil
}

func (o *omniwitness) open(log *knownLog, raw []byte) (*checkpoint, error) {
	read, err := log.openNew(raw)
	if err != nil {
		return nil, err
	}
	signed, err := note.Open(raw, note.VerifierList(o.key))
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, raw)
	}
	at, err := formatsnote.CoSigV1Timestamp(signed.Sigs[0])
	if err != nil {
		return nil, err
	}
	if time.Since(at).Abs() > clockOffMax {
		return nil, fmt.Errorf("the witness cosigned at %v", at)
	}
	// The same by the second verifier, which has the witness' key from the trust file.
	theirs, err := formats.ReadCheckpoint(raw)
	if err != nil {
		return nil, err
	}
	if _, err := log.trust.VerifyCheckpoint(theirs, log.trust.Genesis()); err != nil {
		return nil, err
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.cosigned[read.N] = true
	return read, nil
}

// witnessedMin checkpoints make a run worth something.
const witnessedMin = 5

// settled waits until a node serves the newest checkpoint with the witness' cosignature. Which of them gets it, is chance: each
// asks for what was newest there.
func (o *omniwitness) settled(ctx context.Context, w *watcher, newest *checkpoint) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		for i, url := range w.urls {
			raw, err := get(ctx, url+"checkpoint")
			if err != nil {
				return 0, err
			}
			read, err := o.open(w.log, raw)
			if err != nil {
				continue
			}
			if read.Tree != newest.Tree {
				return 0, fmt.Errorf("node-%d serves %d entries now, before %d", i+1, read.N, newest.N)
			}
			if len(o.cosigned) < witnessedMin {
				return 0, fmt.Errorf("the witness cosigned only %d checkpoints", len(o.cosigned))
			}
			return i, nil
		}
	}
	return 0, fmt.Errorf("no node serves %d entries with the witness' cosignature", newest.N)
}
