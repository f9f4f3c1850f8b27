package main

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	formatsnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

const nodes = 3

// cluster is three node processes in one folder. Each stops when its standard input ends, so that none outlives us.
type cluster struct {
	program, folder string
	ports           [nodes]struct{ peers, clients, tiles int }
	mutex           sync.Mutex
	running         [nodes]*process
}

type process struct {
	command *exec.Cmd
	stdin   io.Closer
	ended   chan struct{}
}

// found a ledger of three nodes, and of that witness.
func found(ctx context.Context, program, folder string, witness *omniwitness) (*cluster, error) {
	c := &cluster{program: program, folder: filepath.Join(folder, "ledger")}
	args := []string{"init", c.folder, "--origin", "chancery.localhost/interop", "--witness", witness.option()}
	for i := range c.ports {
		p := &c.ports[i]
		for _, port := range []*int{&p.peers, &p.clients, &p.tiles} {
			free, err := freePort()
			if err != nil {
				return nil, err
			}
			*port = free
		}
		args = append(args, "--node", fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", p.peers, p.clients, p.tiles))
	}
	if _, err := c.call(ctx, "", args...); err != nil {
		return nil, err
	}
	trust, err := os.ReadFile(c.trustFile())
	if err != nil {
		return nil, err
	}
	nodes, _, found := strings.Cut(string(trust), "[witnesses]")
	if !found {
		return nil, errors.New("the trust file demands no witness")
	}
	return c, os.WriteFile(c.nodesTrustFile(), []byte(nodes), 0o600)
}

func (c *cluster) trustFile() string { return filepath.Join(c.folder, "trust.toml") }

// nodesTrustFile demands no witness.
func (c *cluster) nodesTrustFile() string { return filepath.Join(c.folder, "trust-nodes.toml") }

// otherWitnessTrustFile demands one that nobody knows.
func (c *cluster) otherWitnessTrustFile() (string, error) {
	trust, err := os.ReadFile(c.nodesTrustFile())
	if err != nil {
		return "", err
	}
	_, public, err := note.GenerateKey(cryptorand.Reader, "witness.localhost/other")
	if err != nil {
		return "", err
	}
	vkey, err := formatsnote.VKeyToCosignatureV1(public)
	if err != nil {
		return "", err
	}
	file := filepath.Join(c.folder, "trust-other.toml")
	demand := fmt.Sprintf("\n[witnesses]\nquorum = 1\nkeys = [%q]\n", vkey)
	return file, os.WriteFile(file, append(trust, demand...), 0o600)
}

func (c *cluster) nodeFolder(i int) string {
	return filepath.Join(c.folder, fmt.Sprintf("node-%d", i+1))
}

var given = map[int]bool{}

// freePort is below the range that systems give to outgoing connections: none of these takes it before a node does.
func freePort() (int, error) {
	return freePortOf(func() int { return 20_000 + rand.IntN(12_000) })
}

// freePortOf is the first of some ports that is free and was not given before.
func freePortOf(next func() int) (int, error) {
	for range 1000 {
		port := next()
		// One that was given is not even tried: whoever it was given to may be about to listen there.
		if given[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		given[port] = true
		return port, listener.Close()
	}
	return 0, errors.New("there is no free port")
}

func (c *cluster) urls() []string {
	var urls []string
	for _, p := range c.ports {
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d/", p.tiles))
	}
	return urls
}

func (c *cluster) startAll(ctx context.Context) error {
	for i := range c.ports {
		if err := c.start(i); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, err := c.leader(ctx); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("nobody leads: %w", err)
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (c *cluster) start(i int) error {
	command := exec.Command(c.program, "node", "--stop-on-stdin-close", "--config",
		filepath.Join(c.nodeFolder(i), "node.toml"))
	said, err := os.OpenFile(c.nodeFolder(i)+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer said.Close()
	command.Stderr = said
	stdin, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	p := &process{command: command, stdin: stdin, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
	c.mutex.Lock()
	c.running[i] = p
	c.mutex.Unlock()
	return nil
}

// stop tells all to, and kills who does not.
func (c *cluster) stop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, p := range c.running {
		if p != nil {
			p.stdin.Close()
		}
	}
	deadline := time.After(20 * time.Second)
	for _, p := range c.running {
		if p == nil {
			continue
		}
		select {
		case <-p.ended:
		case <-deadline:
			_ = p.command.Process.Kill()
			<-p.ended
		}
	}
}

// killLeader after a while, with a signal that it cannot catch, and starts it again after another.
func (c *cluster) killLeader(ctx context.Context, after, down time.Duration) (string, error) {
	pause(ctx, after)
	leader, err := c.leader(ctx)
	if err != nil {
		return "", err
	}
	p := c.running[leader]
	select {
	case <-p.ended:
		return "", fmt.Errorf("node-%d ended by itself", leader+1)
	default:
	}
	if err := p.command.Process.Kill(); err != nil {
		return "", err
	}
	<-p.ended
	killed := time.Now()
	next := leader
	for next == leader {
		if next, err = c.leader(ctx); err != nil {
			if ctx.Err() != nil {
				return "", fmt.Errorf("nobody leads after node-%d: %w", leader+1, err)
			}
			next = leader
		}
		pause(ctx, 50*time.Millisecond)
	}
	took := time.Since(killed)
	pause(ctx, down-took)
	if err := c.start(leader); err != nil {
		return "", err
	}
	return fmt.Sprintf("node-%d, the leader, was killed (kill -9 %d); node-%d led within %d ms; node-%d was started again after %.1f s",
		leader+1, p.command.Process.Pid, next+1, took.Milliseconds(), leader+1, time.Since(killed).Seconds()), nil
}

// leader is what the nodes say it is.
func (c *cluster) leader(ctx context.Context) (int, error) {
	out, err := c.call(ctx, "operator", "status")
	var status struct{ Leader *int }
	if jsonErr := json.Unmarshal(out, &status); jsonErr != nil {
		return 0, errors.Join(err, jsonErr)
	}
	if status.Leader == nil {
		return 0, errors.New("no leader is known")
	}
	return *status.Leader - 1, nil
}

// failed is a command line's exit code that is not 0.
type failed struct {
	code int
	said string
}

func (f *failed) Error() string { return fmt.Sprintf("exit code %d: %s", f.code, f.said) }

// call is one command line, with the context of one of the first principals.
func (c *cluster) call(ctx context.Context, principal string, args ...string) ([]byte, error) {
	if principal != "" {
		args = append(args, "--context", filepath.Join(c.folder, "contexts", principal))
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, c.program, append(args, "--output", "json")...)
	home := filepath.Dir(c.folder)
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "CHANCERY_CONTEXT=")
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, &failed{exit.ExitCode(), fmt.Sprintf("chancery %s: %s%s", args[0], out, exit.Stderr)}
	}
	return out, err
}

func pause(ctx context.Context, long time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(long):
	}
}
