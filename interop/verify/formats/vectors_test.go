package formats

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vectors is ledger/tests/vectors.json.
type vectors struct {
	About           string
	Origin          string
	LedgerID        string `json:"ledger_id"`
	Keys            []struct{ Label, Seed, Public string }
	Roster          struct{ Encoded, Digest string }
	TrustFile       string                                `json:"trust_file"`
	RosterChain     chainVector                           `json:"roster_chain"`
	RefusedChains   []struct{ Name, Chain, Error string } `json:"refused_chains"`
	Names           []nameVector
	Patterns        struct{ Matches, Covers [][]any }
	Conditions      []json.RawMessage
	Arguments       []struct{ Text, Canonical, Fault string }
	Malformed       []commandVector `json:"malformed_commands"`
	Commands        []commandVector
	Grants          struct{ Grant, Delegation string }
	Blocks          []blockVector
	Dedup           []dedupVector
	StateTree       []struct{ Key, Value, Root string } `json:"state_tree"`
	Records         []struct{ Kind, Anchor, ID, Key, Value string }
	Statements      map[string]statementVector
	Nonces          []nonceVector
	Knowledge       []knowledgeVector
	Templates       []templateVector
	KnowledgeProofs []string `json:"knowledge_proofs"`
	Answers         []answerVector
	RefusedAnswers  []answerVector   `json:"refused_answers"`
	RecentAnswers   []laterVector    `json:"recent_answers"`
	PastAnswers     []laterVector    `json:"past_answers"`
	Evidence        []evidenceVector `json:"evidence"`
	Recorded        []recordVector
	RecordedBy      []recordedByVector `json:"recorded_by"`
	NoPermit        []noPermitVector   `json:"no_permit"`
	Contradictions  []contradictionVector
	Checkpoints     []checkpointVector `json:"trusted_checkpoints"`
	Equivocations   []equivocationVector
}

type chainVector struct {
	Chain   string
	Rosters []string
}

type nameVector struct {
	Text          string
	Name, Pattern bool
}

type templateVector struct {
	Text     string
	Template bool
}

type commandVector struct {
	Name, Command, Envelope string
	Accepted                bool
	SignedMessage           string `json:"signed_message"`
	CommandHash             string `json:"command_hash"`
	GrantID                 string `json:"grant_id"`
	DecisionID              string `json:"decision_id"`
	GenerationID            string `json:"generation_id"`
	Signatures              []signatureVector
}

type signatureVector struct {
	Key, Signature string
	Batch          *struct {
		Index, Count  uint32
		Hashes        []string
		SignedMessage string `json:"signed_message"`
	}
}

type blockVector struct {
	Name, Block, Hash string
	Outcomes          []json.RawMessage
	Leaves            []struct{ Entry, Hash string }
	Head              struct {
		Ledger       string
		Block        uint64
		TimeMs       uint64 `json:"time_ms"`
		LogSize      uint64 `json:"log_size"`
		LogRoot      string `json:"log_root"`
		StateRoot    string `json:"state_root"`
		RosterBlock  uint64 `json:"roster_block"`
		RosterDigest string `json:"roster_digest"`
		RulesVersion uint32 `json:"rules_version"`
		Encoded      string
		Hash         string
	}
}

type dedupVector struct {
	Entry  string
	Bucket uint64
	After  struct {
		Entries uint64
		Hash    string
	} `json:"bucket_after_block"`
}

type statementVector struct {
	Node, Epoch, Counter uint64
	Body, Signature      string
	SignedMessage        string `json:"signed_message"`
	KeyID                string `json:"key_id"`
	Encoded              string
	// Of a fresh one.
	Clock json.RawMessage `json:"clock_ms"`
}

type nonceVector struct {
	Nonces []string
	Root   string
	Paths  [][]string
}

type knowledgeVector struct {
	Count  uint32
	Root   string
	Items  []itemVector
	Absent []struct {
		Source        string
		Before, After *itemVector
	}
}

type itemVector struct {
	Source, Digest string
	RetrievedAtMs  uint64 `json:"retrieved_at_ms"`
	Index          uint32
	Path           []string
}

type questionVector struct {
	Agent, Action, Resource string
	ArgsDigest              string `json:"args_digest"`
	Args                    *string
	Knowledge, Generation   *string
	Nonce, Question         *string
	Block                   *uint64
	TimeMs                  *uint64 `json:"time_ms"`
}

type shownVector struct {
	Error       string
	Block       uint64
	Nodes       []uint64
	IntervalMs  []uint64 `json:"interval_ms"`
	ClockMinMs  uint64   `json:"clock_min_ms"`
	Decision    json.RawMessage
	Recorded    json.RawMessage
	BlockTimeMs uint64 `json:"block_time_ms"`
	StateRoot   string `json:"state_root"`
	TimeMs      uint64 `json:"time_ms"`
	HeadBlock   uint64 `json:"head_block"`
}

type answerVector struct {
	Name     string
	Question questionVector
	Answer   string
	ReadSet  string `json:"read_set"`
	shownVector
}

type laterVector struct {
	Name     string
	Question questionVector
	Answer   string
	Shows    shownVector
}

type evidenceVector struct {
	Name, File string
	Shows      struct {
		Error    string
		Decision json.RawMessage
		Cause    *string
	}
}

type recordVector struct {
	Name, File string
	Shows      struct {
		Error   string
		Index   uint64
		Command string
		Verdict json.RawMessage
		Cause   *string
		Nodes   []uint64
	}
}

type contradictionVector struct {
	Name, File string
	Shows      struct {
		Error  string
		Node   uint64
		Charge string
	}
}

var known = func() *vectors {
	file, err := os.ReadFile("../../../ledger/tests/vectors.json")
	if err != nil {
		panic(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(file, v); err != nil {
		panic(err)
	}
	return v
}()

func unhexed(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func hexed(data []byte) string { return hex.EncodeToString(data) }

func allUnhexed(t *testing.T, texts []string) [][]byte {
	var out [][]byte
	for _, text := range texts {
		out = append(out, unhexed(t, text))
	}
	return out
}

func hashesIn(t *testing.T, texts []string) []Hash {
	hashes, ok := hashesOf(allUnhexed(t, texts))
	if !ok {
		t.Fatal("not hashes")
	}
	return hashes
}

// trustOfFile is the trust of the file alone.
func trustOfFile(t *testing.T) *Trust {
	t.Helper()
	trust, err := ReadTrust([]byte(known.TrustFile))
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// trusted has the rosters, too, that the chain proves.
func trusted(t *testing.T) *Trust {
	t.Helper()
	trust := trustOfFile(t)
	if err := trust.prove(unhexed(t, known.RosterChain.Chain)); err != nil {
		t.Fatal(err)
	}
	return trust
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// each runs a subtest for each vector of a section, which has some.
func each[T any](t *testing.T, list []T, name func(T) string, run func(*testing.T, T)) {
	t.Helper()
	if len(list) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range list {
		t.Run(name(c), func(t *testing.T) { run(t, c) })
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSections is that no section of the file was overlooked.
func TestSections(t *testing.T) {
	file, err := os.ReadFile("../../../ledger/tests/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(file, &sections); err != nil {
		t.Fatal(err)
	}
	same(t, "sections", len(sections), reflect.TypeOf(vectors{}).NumField())
}

func replaced(t *testing.T, text, old, new string) string {
	t.Helper()
	out := strings.Replace(text, old, new, 1)
	if out == text {
		t.Fatalf("%q is not there", old)
	}
	return out
}
