// Judges a history of grants, revocations and checks with github.com/anishathalye/porcupine.
//
//	porcupine [-timeout 60s] HISTORY.jsonl
//
// The history has one operation a line, as jepsen-tests/src/history.rs describes it. One line of JSON is printed:
// {"verdict":"valid"|"violation"|"inconclusive","examined":N,"why":"..."}. No index, block or proof is looked at.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// Operation is one line of the history.
type Operation struct {
	ID         int64      `json:"id"`
	InvokedUs  int64      `json:"invoked_us"`
	ReturnedUs *int64     `json:"returned_us"`
	Call       Call       `json:"call"`
	Outcome    OutcomeTag `json:"outcome"`
}

// Call has exactly one field that is not nil.
type Call struct {
	Register    *About `json:"register"`
	Grant       *About `json:"grant"`
	Delegate    *About `json:"delegate"`
	RevokeGrant *About `json:"revoke_grant"`
	RevokeAgent *About `json:"revoke_agent"`
	Check       *About `json:"check"`
}

// About has what a call is about; what it does not name is empty.
type About struct {
	Agent    string `json:"agent"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Grant    string `json:"grant"`
	Parent   string `json:"parent"`
}

// OutcomeTag has exactly one field that is not nil.
type OutcomeTag struct {
	Acknowledged *json.RawMessage `json:"acknowledged"`
	Permitted    *json.RawMessage `json:"permitted"`
	Denied       *Denied          `json:"denied"`
	Refused      *json.RawMessage `json:"refused"`
	NotDone      *json.RawMessage `json:"not_done"`
	Unknown      *json.RawMessage `json:"unknown"`
}

// Denied is what a proven denial says.
type Denied struct {
	Block  uint64 `json:"block"`
	Reason string `json:"reason"`
	// The halt that it names. Such a denial says nothing of what was granted.
	Halt *uint64 `json:"halt"`
}

// Verdict is what is printed.
type Verdict struct {
	Verdict  string `json:"verdict"`
	Examined int    `json:"examined"`
	Why      string `json:"why"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "give up after so long")
	flag.Parse()
	history, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(judge(history, *timeout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func read(path string) ([]Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var history []Operation
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var operation Operation
		if err := json.Unmarshal(lines.Bytes(), &operation); err != nil {
			return nil, fmt.Errorf("operation %d: %w", len(history), err)
		}
		history = append(history, operation)
	}
	return history, lines.Err()
}
