package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// watcher reads the checkpoints of all nodes, and holds each against the ones before it, of whichever node.
type watcher struct {
	log  *knownLog
	urls []string

	mutex  sync.Mutex
	trees  map[int64]tlog.Hash
	newest *checkpoint
	seen   [nodes]int
	grown  []grown
}

// grown is when a log of that size was published first.
type grown struct {
	size int64
	at   time.Time
}

const pollEvery = 200 * time.Millisecond

// node watches one. That it cannot be reached, or has nothing yet, proves nothing; that it takes something back does.
func (w *watcher) node(ctx context.Context, i int) error {
	var last *checkpoint
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		raw, err := get(ctx, w.urls[i]+"checkpoint")
		if err != nil {
			continue
		}
		read, err := w.log.open(raw)
		if err != nil {
			return fmt.Errorf("node-%d: %w", i+1, err)
		}
		if last != nil && read.N < last.N {
			return fmt.Errorf("node-%d went back from %d entries to %d", i+1, last.N, read.N)
		}
		if last != nil && read.N == last.N {
			continue
		}
		if err := w.holds(ctx, i, read); err != nil && ctx.Err() == nil {
			return fmt.Errorf("node-%d: %w", i+1, err)
		}
		last = read
		w.seen[i]++
	}
	return nil
}

// holds proves, from that node's tiles, that the log grew from the newest one known that is no larger.
func (w *watcher) holds(ctx context.Context, i int, read *checkpoint) error {
	before := w.before(read)
	return grew(tiles{ctx, w.urls[i]}, before, read.Tree)
}

func grew(from tiles, before, now tlog.Tree) error {
	switch before.N {
	case 0:
		return nil
	case now.N:
		if before.Hash != now.Hash {
			return fmt.Errorf("two logs of %d entries: %v and %v", now.N, before.Hash, now.Hash)
		}
		return nil
	}
	proof, err := tlog.ProveTree(now.N, before.N, from.hashes(now))
	if err != nil {
		return fmt.Errorf("from %d to %d: %w", before.N, now.N, err)
	}
	if err := tlog.CheckTree(proof, now.N, now.Hash, before.N, before.Hash); err != nil {
		return fmt.Errorf("from %d to %d: %w", before.N, now.N, err)
	}
	return nil
}

func (w *watcher) before(read *checkpoint) (before tlog.Tree) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for n, hash := range w.trees {
		if n <= read.N && n > before.N {
			before = tlog.Tree{N: n, Hash: hash}
		}
	}
	if before.N != read.N {
		w.trees[read.N] = read.Hash
	}
	if w.newest == nil || read.N > w.newest.N {
		w.newest = read
		w.grown = append(w.grown, grown{read.N, time.Now()})
	}
	return before
}

// latest is the largest that any node published.
func (w *watcher) latest() *checkpoint {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.newest
}

func (w *watcher) String() string {
	return fmt.Sprintf("%d checkpoints of three nodes (%d, %d and %d) opened, each consistent with those before it, of %d sizes",
		w.seen[0]+w.seen[1]+w.seen[2], w.seen[0], w.seen[1], w.seen[2], len(w.trees))
}

// checkpointsMin of each node make a run worth something.
const checkpointsMin = 5

func (w *watcher) enough() error {
	for i, seen := range w.seen {
		if seen < checkpointsMin {
			return fmt.Errorf("node-%d published only %d checkpoints", i+1, seen)
		}
	}
	return nil
}

// behind is how long the slowest acknowledged entry took to be in a checkpoint.
func (w *watcher) behind(acknowledged []acknowledged) (longest time.Duration, err error) {
	for _, a := range acknowledged {
		covered := false
		for _, g := range w.grown {
			if g.size > a.index {
				longest, covered = max(longest, g.at.Sub(a.at)), true
				break
			}
		}
		if !covered && time.Since(a.at) > checkpointBehindMax {
			return 0, fmt.Errorf("the entry at index %d is in no checkpoint", a.index)
		}
	}
	if longest > checkpointBehindMax {
		return 0, fmt.Errorf("an acknowledged entry was in no checkpoint for %v", longest)
	}
	return longest, nil
}

// settled waits until all nodes publish one log and it stays so.
func (w *watcher) settled(ctx context.Context, last int64) (*checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var same *checkpoint
	since := time.Now()
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		var all []*checkpoint
		for i, url := range w.urls {
			raw, err := get(ctx, url+"checkpoint")
			if err != nil {
				break
			}
			read, err := w.log.open(raw)
			if err != nil {
				return nil, fmt.Errorf("node-%d: %w", i+1, err)
			}
			if err := w.holds(ctx, i, read); err != nil {
				return nil, fmt.Errorf("node-%d: %w", i+1, err)
			}
			all = append(all, read)
		}
		if len(all) < nodes || all[0].Tree != all[1].Tree || all[1].Tree != all[2].Tree || all[0].N <= last {
			same = nil
			continue
		}
		if same == nil || same.Tree != all[0].Tree {
			same, since = all[0], time.Now()
		}
		if time.Since(since) > 2*time.Second {
			return same, nil
		}
	}
	return nil, fmt.Errorf("the nodes do not come to one log with the entry at index %d", last)
}

// allPrefixes compares every checkpoint ever read with the newest log: each pair of them is consistent, then.
func (w *watcher) allPrefixes(ctx context.Context, newest *checkpoint) error {
	for i, url := range w.urls {
		hashes := tiles{ctx, url}.hashes(newest.Tree)
		for n, hash := range w.trees {
			now, err := tlog.TreeHash(n, hashes)
			if err != nil {
				return err
			}
			if now != hash {
				return fmt.Errorf("a checkpoint of %d entries is of another log than the one that node-%d serves", n, i+1)
			}
		}
	}
	say("each of the %d is a prefix of the log that every node serves in the end, of %d entries", len(w.trees), newest.N)
	return nil
}
