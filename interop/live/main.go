// Runs a cluster of three nodes, and holds what they serve to tools and libraries that others wrote, while commands are
// submitted and the leader is killed.
//
//	live --chancery FILE --fsck FILE --witness FILE [--seconds N] [--keep]
//
// The log's key and the quorum are taken from what a node serves, and the nodes' keys in it compared with the trust file.
// It exits with 0 if everything held, and 1 with what did not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// timeMax is for the whole of it, whatever hangs.
const timeMax = 5 * time.Minute

// checkpointBehindMax is how long after its acknowledgement a command may be in no checkpoint. A second is what is promised of
// machines that have nothing else to do.
const checkpointBehindMax = 10 * time.Second

type arguments struct {
	chancery, fsck, witness string
	writing                 time.Duration
	keep                    bool
}

func main() {
	var a arguments
	seconds := flag.Uint("seconds", 24, "for how long commands are submitted")
	flag.StringVar(&a.chancery, "chancery", "", "our program")
	flag.StringVar(&a.fsck, "fsck", "", "Tessera's fsck")
	flag.StringVar(&a.witness, "witness", "", "the omniwitness")
	flag.BoolVar(&a.keep, "keep", false, "keep the folder")
	flag.Parse()
	if flag.NArg() > 0 || a.chancery == "" || a.fsck == "" || a.witness == "" {
		flag.Usage()
		os.Exit(2)
	}
	a.writing = time.Duration(*seconds) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), timeMax)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	err := run(ctx, a)
	stop()
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "      does not hold: %v\n", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "      "+format+"\n", args...) }

func run(ctx context.Context, a arguments) (err error) {
	folder, err := os.MkdirTemp("", "chancery-interop-")
	if err != nil {
		return err
	}
	defer func() {
		if a.keep || err != nil {
			say("kept: %s", folder)
			return
		}
		err = os.RemoveAll(folder)
	}()
	witness, err := newWitness(a.witness, folder)
	if err != nil {
		return err
	}
	defer witness.stop()
	cluster, err := found(ctx, a.chancery, folder, witness)
	if err != nil {
		return err
	}
	defer cluster.stop()
	if err := cluster.startAll(ctx); err != nil {
		return err
	}
	log, err := cluster.knownLog(ctx)
	if err != nil {
		return err
	}
	say("three nodes, one log, %s; a quorum is %d of %d, whose keys are those of the trust file",
		log.origin, log.quorum.N, len(log.nodes))
	if err := witness.start(ctx, log); err != nil {
		return err
	}
	watch := &watcher{log: log, urls: cluster.urls(), trees: map[int64]tlog.Hash{}}
	archive := &archive{folder: filepath.Join(folder, "archive")}
	last, err := during(ctx, a.writing, cluster, watch, witness, archive)
	if err != nil {
		return err
	}
	newest, err := watch.settled(ctx, last)
	if err != nil {
		return err
	}
	return after(ctx, a, folder, cluster, watch, witness, archive, newest)
}

// during commands, which stop before it returns the newest acknowledged one's index.
func during(
	ctx context.Context, long time.Duration, cluster *cluster, watch *watcher, witness *omniwitness, archive *archive,
) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	group := newGroup(ctx)
	writes := &writes{cluster: cluster}
	for worker := range workers {
		group.run(func(ctx context.Context) error { return writes.submitAll(ctx, worker) })
	}
	for i := range watch.urls {
		group.run(func(ctx context.Context) error { return watch.node(ctx, i) })
		group.run(func(ctx context.Context) error { return witness.follow(ctx, watch, i) })
	}
	group.run(func(ctx context.Context) error { return archive.begin(ctx, long/2, cluster, watch) })
	var killed string
	group.run(func(ctx context.Context) (err error) {
		killed, err = cluster.killLeader(ctx, long/3, long/4)
		return err
	})
	if err := group.wait(); err != nil {
		return 0, err
	}
	if killed == "" {
		return 0, errors.New("no leader was killed and replaced")
	}
	behind, err := watch.behind(writes.acknowledged)
	if err != nil {
		return 0, err
	}
	say("%s", killed)
	say("%s", writes)
	say("%s", watch)
	say("the slowest acknowledged entry was in a checkpoint after %d ms", behind.Milliseconds())
	return writes.last(), watch.enough()
}

// after the commands: what is left is a log that stands still.
func after(
	ctx context.Context, a arguments, folder string, cluster *cluster, watch *watcher, witness *omniwitness, archive *archive,
	newest *checkpoint,
) error {
	if err := watch.allPrefixes(ctx, newest); err != nil {
		return err
	}
	if err := provenEntries(ctx, watch, newest, folder); err != nil {
		return err
	}
	for _, url := range watch.urls {
		if err := fsck(ctx, a.fsck, folder, watch.log, url, newest.N); err != nil {
			return err
		}
	}
	if err := fsckMustFail(ctx, a.fsck, folder, watch.log, watch.urls[0], newest.N); err != nil {
		return err
	}
	say("fsck passes on each node; with a bit of an entry changed, it does not")
	witnessed, err := witness.settled(ctx, watch, newest)
	if err != nil {
		return err
	}
	say("a witness cosigned %d of the checkpoints that the nodes gave it, the newest too", len(witness.cosigned))
	if err := archive.fsck(ctx, a.fsck, folder, cluster, watch, witnessed, newest); err != nil {
		return err
	}
	if err := ownProofs(ctx, cluster, watch, archive, witnessed, newest, folder); err != nil {
		return err
	}
	return audited(ctx, cluster, watch, archive, witnessed)
}
