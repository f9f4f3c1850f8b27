package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// workers submit commands at once.
const workers = 4

// writes counts what was submitted.
type writes struct {
	cluster      *cluster
	mutex        sync.Mutex
	acknowledged []acknowledged
	unknown      int
}

// acknowledged is where a command is in the log, and since when that is known.
type acknowledged struct {
	index int64
	at    time.Time
}

// submitAll registers agents, and grants each something that it then revokes.
func (w *writes) submitAll(ctx context.Context, worker int) error {
	for round := 0; ctx.Err() == nil; round++ {
		agent := fmt.Sprintf("bot-%d-%d", worker, round)
		if _, err := w.submit(ctx, "operator", "agent", "register", agent, "--owner", "ada@example.com"); err != nil {
			return err
		}
		for range 4 {
			grant, err := w.submit(ctx, "issuer", "grant", agent, "--action", "mail/*", "--resource", "customer/*")
			if err != nil {
				return err
			}
			if grant == "" {
				continue
			}
			if _, err := w.submit(ctx, "revoker", "revoke", grant, "--reason", "as ever"); err != nil {
				return err
			}
		}
	}
	return nil
}

// Nothing is known of a command for these exit codes; while nobody leads, that happens.
const (
	exitNotDone = 11
	exitUnknown = 12
	// A grant to an agent of whose registration nothing is known.
	exitRefused = 14
)

func (w *writes) submit(ctx context.Context, principal string, args ...string) (grant string, err error) {
	out, err := w.cluster.call(ctx, principal, args...)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var exit *failed
	if errors.As(err, &exit) && (exit.code == exitNotDone || exit.code == exitUnknown || exit.code == exitRefused) || ctx.Err() != nil {
		w.unknown++
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var done struct {
		Index int64
		Grant string
	}
	if err := json.Unmarshal(out, &done); err != nil {
		return "", err
	}
	w.acknowledged = append(w.acknowledged, acknowledged{done.Index, time.Now()})
	return done.Grant, nil
}

// last is the newest entry that was acknowledged.
func (w *writes) last() (last int64) {
	for _, a := range w.acknowledged {
		last = max(last, a.index)
	}
	return last
}

func (w *writes) String() string {
	return fmt.Sprintf("%d commands acknowledged, the last at index %d; of %d it is not known, or they were refused",
		len(w.acknowledged), w.last(), w.unknown)
}
