// Verifies what Chancery hands out, offline: evidence of every kind, records, contradictions and knowledge proofs.
//
//	verify FILE… --trust trust.toml [--root HEX]
//
// It exits with 0 if all of them hold, 13 if one does not, and 15 if all do but one rests on conditions, which are not
// executed here. 2 is for arguments, a trust file, or a file that cannot be read.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"chancery/interop/verify/formats"
)

const (
	exitVerified    = 0
	exitUsage       = 2
	exitInvalid     = 13
	exitConditional = 15
)

const usage = "usage: verify FILE… --trust trust.toml [--root HEX (of a knowledge proof)]"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

type arguments struct {
	files       []string
	trust, root string
}

func parse(args []string) (*arguments, bool) {
	a := &arguments{}
	for i := 0; i < len(args); i++ {
		into := map[string]*string{"--trust": &a.trust, "--root": &a.root}[args[i]]
		switch {
		case into != nil && *into == "" && i+1 < len(args):
			i++
			*into = args[i]
		case strings.HasPrefix(args[i], "-"):
			return nil, false
		default:
			a.files = append(a.files, args[i])
		}
	}
	return a, len(a.files) > 0 && a.trust != ""
}

func run(args []string, stdout, stderr io.Writer) int {
	a, ok := parse(args)
	if !ok {
		fmt.Fprintln(stderr, usage)
		return exitUsage
	}
	file, err := os.ReadFile(a.trust)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	trust, err := formats.ReadTrust(file)
	if err != nil {
		fmt.Fprintf(stderr, "%s: no trust file: %v\n", a.trust, err)
		return exitUsage
	}
	var contents [][]byte
	for _, name := range a.files {
		content, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitUsage
		}
		contents = append(contents, content)
	}
	worst := exitVerified
	for i, name := range a.files {
		r := verify(trust, contents[i], a.root)
		fmt.Fprint(stdout, r.text(name))
		if worst != exitInvalid && r.exit != exitVerified {
			worst = r.exit
		}
	}
	return worst
}

// verify tells what one file shows.
func verify(trust *formats.Trust, content []byte, root string) *report {
	kind, err := formats.KindOf(content)
	if err != nil {
		return invalid(err)
	}
	switch kind {
	case formats.KindEvidence:
		e, err := trust.VerifyEvidence(content)
		if err != nil {
			return invalid(err)
		}
		return ofEvidence(trust, e)
	case formats.KindRecord:
		r, err := trust.VerifyRecord(content)
		if err != nil {
			return invalid(err)
		}
		return ofRecord(r)
	case formats.KindRecordedBy:
		r, err := trust.VerifyRecordedBy(content)
		if err != nil {
			return invalid(err)
		}
		return ofRecordedBy(r)
	case formats.KindNoPermit:
		n, err := trust.VerifyNoPermit(content)
		if err != nil {
			return invalid(err)
		}
		return ofNoPermit(n)
	case formats.KindEquivocation:
		e, err := trust.VerifyEquivocation(content)
		if err != nil {
			return invalid(err)
		}
		return ofEquivocation(e)
	case formats.KindContradiction:
		c, err := trust.VerifyContradiction(content)
		if err != nil {
			return invalid(err)
		}
		return ofConviction(c)
	case formats.KindKnowledge:
		p, err := formats.ReadKnowledgeProof(content)
		if err == nil && p.Root.String() != root {
			err = formats.Refusal("it is of the root " + p.Root.String() + ", and not of --root")
		}
		if err != nil {
			return invalid(err)
		}
		return ofKnowledge(p)
	}
	return invalid(formats.Refusal("unknown format"))
}
