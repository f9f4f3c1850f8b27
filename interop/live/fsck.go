package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fsck reads a whole log. Its exit code says nothing: what it says in the end does, and of how many entries.
func fsck(ctx context.Context, program, folder string, log *knownLog, from string, size int64) error {
	key := filepath.Join(folder, "log.vkey")
	if err := os.WriteFile(key, []byte(log.vkey), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, "-ui=false", "-N=4", "-storage_url", from, "-public_key", key, "-origin", log.origin)
	said, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("fsck %s: %w\n%s", from, err, said)
	}
	passed := fmt.Sprintf("Successfully fsck'd log with size %d and root", size)
	if !strings.Contains(string(said), passed) || strings.Contains(string(said), "fsck failed") {
		return fmt.Errorf("fsck %s:\n%s", from, said)
	}
	return nil
}

// fsckMustFail serves a node's log with one bit of one entry changed: if fsck passed that too, it would show nothing.
func fsckMustFail(ctx context.Context, program, folder string, log *knownLog, from string, size int64) error {
	target, err := url.Parse(from)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(response *http.Response) error {
		if !strings.HasPrefix(response.Request.URL.Path, "/tile/entries/000") {
			return nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, bodyMax))
		if err != nil {
			return err
		}
		body[len(body)-1] ^= 1
		response.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	if err := fsck(ctx, program, folder, log, server.URL+"/", size); err == nil {
		return errors.New("fsck passes on a log with an entry changed")
	}
	return nil
}
