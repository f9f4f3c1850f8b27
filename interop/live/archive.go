package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"
)

// archive is the same log as files, which our program writes.
type archive struct {
	folder string
	// begun is how much was in it when it was written first, and of which node.
	begun *checkpoint
	from  int
}

// begin archives what a node has published while the log grows, and the leader is down. Of such a log the newest checkpoint has
// seldom the witness' cosignature yet: it is the newest that has.
func (a *archive) begin(ctx context.Context, after time.Duration, c *cluster, w *watcher) (err error) {
	pause(ctx, after)
	if ctx.Err() != nil {
		return errors.New("nothing was archived while the log grew")
	}
	for i, url := range w.urls {
		if _, err := get(ctx, url+"witnessed-checkpoint"); err == nil {
			a.from = i
			break
		}
	}
	a.begun, err = a.write(ctx, c, w, a.from, c.trustFile())
	return err
}

func (a *archive) write(ctx context.Context, c *cluster, w *watcher, from int, trust string) (*checkpoint, error) {
	_, err := c.call(ctx, "", "archive", a.folder, "--from", w.urls[from], "--trust", trust)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(a.folder, "checkpoint"))
	if err != nil {
		return nil, err
	}
	read, err := w.log.open(raw)
	if err != nil {
		return nil, fmt.Errorf("the archive's checkpoint: %w", err)
	}
	return read, w.holds(ctx, from, read)
}

// fsck holds it against fsck, as files and as any web server would serve them; then what that node has published since,
// whose checkpoint the witness cosigned, is added, and it must be the whole log.
func (a *archive) fsck(ctx context.Context, program string, folder string, c *cluster, w *watcher, witnessed int, newest *checkpoint) error {
	server := httptest.NewServer(http.FileServer(http.Dir(a.folder)))
	defer server.Close()
	whole := func(read *checkpoint) error {
		for _, from := range []string{"file://" + a.folder + "/", server.URL + "/"} {
			if err := fsck(ctx, program, folder, w.log, from, read.N); err != nil {
				return err
			}
		}
		return nil
	}
	if err := whole(a.begun); err != nil {
		return err
	}
	read, err := a.write(ctx, c, w, witnessed, c.trustFile())
	if err != nil {
		return err
	}
	if read.Tree != newest.Tree {
		return fmt.Errorf("the archive is of %d entries, the log of %d", read.N, newest.N)
	}
	if err := whole(read); err != nil {
		return err
	}
	say("fsck passes on the archive, of %d entries from node-%d while the log grew, and of all %d with the rest, from node-%d",
		a.begun.N, a.from+1, read.N, witnessed+1)
	return nil
}

// audited has our own program audit the archive and the node that it is of, with the trust file that demands the witness; and it
// must find one that is not there.
func audited(ctx context.Context, c *cluster, w *watcher, a *archive, witnessed int) error {
	for _, from := range []string{w.urls[witnessed], a.folder} {
		if _, err := c.call(ctx, "", "audit", from, "--trust", c.trustFile()); err != nil {
			return err
		}
	}
	other, err := c.otherWitnessTrustFile()
	if err != nil {
		return err
	}
	_, err = c.call(ctx, "", "audit", a.folder, "--trust", other)
	var exit *failed
	if !errors.As(err, &exit) || exit.code != exitInvalid {
		return fmt.Errorf("an audit of a log that lacks the cosignature of the witness that is demanded: %v", err)
	}
	say("chancery audit finds nothing in it, by a trust file that demands the witness; by one that demands another, it does")
	return nil
}

// exitInvalid is for what does not hold.
const exitInvalid = 13
