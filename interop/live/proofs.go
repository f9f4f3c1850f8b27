package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/tessera/api"
	"golang.org/x/mod/sumdb/tlog"
)

// provenEntries proves that entries are in the log: of the edges of tiles, and others at random. Each is written to a
// `.tlog-proof`, and read again with nothing but what an auditor knows.
func provenEntries(ctx context.Context, w *watcher, newest *checkpoint, folder string) error {
	indices := []int64{0, 1, newest.N - 1, newest.N / 2}
	for _, edge := range []int64{255, 256, 257, 511, 512} {
		if edge < newest.N {
			indices = append(indices, edge)
		}
	}
	for range 16 {
		indices = append(indices, rand.Int64N(newest.N))
	}
	for i, index := range indices {
		from := tiles{ctx, w.urls[i%len(w.urls)]}
		entry, err := entryAt(from, newest.Tree, index)
		if err != nil {
			return err
		}
		written, err := tlogProof(from, newest, index)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, fmt.Sprintf("%d.tlog-proof", index))
		if err := os.WriteFile(file, written, 0o600); err != nil {
			return err
		}
		if err := checkTlogProof(w.log, file, entry); err != nil {
			return fmt.Errorf("the entry at index %d: %w", index, err)
		}
		entry[len(entry)-1] ^= 1
		if err := checkTlogProof(w.log, file, entry); err == nil {
			return fmt.Errorf("a changed entry at index %d is proven", index)
		}
	}
	say("%d entries are proven to be in it, each with a .tlog-proof; with a bit changed, none", len(indices))
	return nil
}

// ownProofs has our own program write proofs, of a node's log and of the archive, by the trust file that demands the witness.
// Each is read like the others, and so is the entry that it wrote beside it.
func ownProofs(
	ctx context.Context, c *cluster, w *watcher, a *archive, witnessed int, newest *checkpoint, folder string,
) error {
	indices := []int64{0, newest.N - 1, rand.Int64N(newest.N)}
	for _, source := range []string{w.urls[witnessed], a.folder} {
		for _, index := range indices {
			file, own := filepath.Join(folder, "own.tlog-proof"), filepath.Join(folder, "own.entry")
			_, err := c.call(ctx, "", "log", "proof", fmt.Sprint(index), "--from", source, "--trust", c.trustFile(),
				"--file", file, "--entry", own)
			if err != nil {
				return err
			}
			entry, err := entryAt(tiles{ctx, w.urls[witnessed]}, newest.Tree, index)
			if err != nil {
				return err
			}
			wrote, err := os.ReadFile(own)
			if err != nil {
				return err
			}
			if !bytes.Equal(wrote, entry) {
				return fmt.Errorf("our entry at index %d is another", index)
			}
			if err := checkTlogProof(w.log, file, entry); err != nil {
				return fmt.Errorf("our own proof of the entry at index %d, from %s: %w", index, source, err)
			}
			entry[0] ^= 1
			if err := checkTlogProof(w.log, file, entry); err == nil {
				return fmt.Errorf("our own proof is of a changed entry at index %d, too", index)
			}
		}
	}
	say("chancery log proof wrote %d that hold too, of a node's log and of the archive", 2*len(indices))
	return nil
}

// entryAt reads the bundle that has it.
func entryAt(from tiles, tree tlog.Tree, index int64) ([]byte, error) {
	width := min(tree.N-index/256*256, 256)
	path := tlog.Tile{H: 8, L: -1, N: index / 256, W: int(width)}.Path()
	bytes, err := get(from.ctx, from.url+"tile/entries/"+path[len("tile/8/data/"):])
	if err != nil {
		return nil, err
	}
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(bytes); err != nil {
		return nil, err
	}
	if int64(len(bundle.Entries)) != width {
		return nil, fmt.Errorf("%s has %d entries", path, len(bundle.Entries))
	}
	return bundle.Entries[index%256], nil
}

func tlogProof(from tiles, of *checkpoint, index int64) ([]byte, error) {
	hashes, err := tlog.ProveRecord(of.N, index, from.hashes(of.Tree))
	if err != nil {
		return nil, err
	}
	made := proof.TLogProof{Index: uint64(index), Checkpoint: of.raw}
	for _, hash := range hashes {
		made.Hashes = append(made.Hashes, hash)
	}
	return made.Marshal(), nil
}

// checkTlogProof reads one, whoever wrote it, of that entry.
func checkTlogProof(log *knownLog, file string, entry []byte) error {
	written, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var read proof.TLogProof
	if err := read.Unmarshal(written); err != nil {
		return err
	}
	of, err := log.open(read.Checkpoint)
	if err != nil {
		return err
	}
	if read.Index >= uint64(of.N) {
		return errors.New("beyond the checkpoint")
	}
	var hashes tlog.RecordProof
	for _, hash := range read.Hashes {
		hashes = append(hashes, hash)
	}
	return tlog.CheckRecord(hashes, of.N, of.Hash, int64(read.Index), tlog.RecordHash(entry))
}
