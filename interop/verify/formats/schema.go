package formats

// The messages of the schema. A pointer is what may be absent; a member of a oneof is one, or a slice that is nil.

// Role is what a principal may do, 1 to 7.
type Role uint32

// OutcomeKind is what became of a call, 1 to 4.
type OutcomeKind uint32

type SignedCommand struct {
	Command    []byte       `pb:"1"`
	Signatures []*Signature `pb:"2"`
}

type Signature struct {
	Key       []byte        `pb:"1"`
	Signature []byte        `pb:"2"`
	Batch     *CommandBatch `pb:"3"`
}

type CommandBatch struct {
	Index  uint32   `pb:"1"`
	Count  uint32   `pb:"2"`
	Hashes [][]byte `pb:"3"`
}

type Command struct {
	Signer             []byte              `pb:"1"`
	RequestID          []byte              `pb:"2"`
	NotAfterMs         uint64              `pb:"3"`
	Genesis            *Genesis            `pb:"16,oneof=body"`
	AddPrincipal       *AddPrincipal       `pb:"17,oneof=body"`
	RemovePrincipal    *RemovePrincipal    `pb:"18,oneof=body"`
	RotatePrincipal    *RotatePrincipal    `pb:"19,oneof=body"`
	RegisterAgent      *RegisterAgent      `pb:"20,oneof=body"`
	RetireAgent        *RetireAgent        `pb:"21,oneof=body"`
	Grant              *Grant              `pb:"22,oneof=body"`
	Delegate           *Delegate           `pb:"23,oneof=body"`
	RevokeGrant        *RevokeGrant        `pb:"24,oneof=body"`
	RevokeAgent        *RevokeAgent        `pb:"25,oneof=body"`
	SetRules           *SetRules           `pb:"26,oneof=body"`
	SetRoster          *SetRoster          `pb:"27,oneof=body"`
	Halt               *Halt               `pb:"28,oneof=body"`
	Resume             *Resume             `pb:"29,oneof=body"`
	SetLineage         *SetLineage         `pb:"30,oneof=body"`
	RegisterGeneration *RegisterGeneration `pb:"31,oneof=body"`
	ReleaseGeneration  *ReleaseGeneration  `pb:"32,oneof=body"`
	RollbackLineage    *RollbackLineage    `pb:"33,oneof=body"`
	Authorize          *Authorize          `pb:"34,oneof=body"`
	Outcome            *Outcome            `pb:"35,oneof=body"`
}

type Genesis struct {
	Origin       string       `pb:"1"`
	Roster       *Roster      `pb:"2"`
	Principals   []*Principal `pb:"3"`
	Limits       *Limits      `pb:"4"`
	RulesVersion uint32       `pb:"5"`
}

type Limits struct {
	SignaturesPerCommandMax  uint32 `pb:"1"`
	GrantsPerAgentMax        uint32 `pb:"2"`
	DedupEntriesPerSignerMax uint32 `pb:"3"`
	DelegationDepthMax       uint32 `pb:"4"`
	ProofSizeBytesMax        uint32 `pb:"5"`
	StalenessCapMs           uint64 `pb:"6"`
	ClockSkewMsMax           uint64 `pb:"7"`
	OperatorThreshold        uint32 `pb:"8"`
	ResumerThreshold         uint32 `pb:"9"`
	OpenDecisionsPerAgentMax uint32 `pb:"10"`
	ExecutionMsMax           uint64 `pb:"11"`
}

type Roster struct {
	Sets []*VoterSet `pb:"1"`
}

type VoterSet struct {
	Voters []*Voter `pb:"1"`
	Quorum uint32   `pb:"2"`
}

type Voter struct {
	Node uint64 `pb:"1"`
	Name string `pb:"2"`
	Key  []byte `pb:"3"`
}

type Principal struct {
	Key   []byte `pb:"1"`
	Name  string `pb:"2"`
	Roles []Role `pb:"3"`
	Scope *Scope `pb:"4"`
}

type Scope struct {
	Agents    []string `pb:"1"`
	Actions   []string `pb:"2"`
	Resources []string `pb:"3"`
}

type AddPrincipal struct {
	Principal *Principal `pb:"1"`
}

type RemovePrincipal struct {
	Key []byte `pb:"1"`
}

type RotatePrincipal struct {
	OldKey []byte `pb:"1"`
	NewKey []byte `pb:"2"`
}

type RegisterAgent struct {
	Agent   string `pb:"1"`
	Owner   string `pb:"2"`
	Key     []byte `pb:"3"`
	Lineage string `pb:"4"`
}

type RetireAgent struct {
	Agent string `pb:"1"`
}

type Terms struct {
	Agent          string                  `pb:"1"`
	Actions        []string                `pb:"2"`
	Resources      []string                `pb:"3"`
	NotBeforeMs    uint64                  `pb:"4"`
	NotAfterMs     uint64                  `pb:"5"`
	MaxStalenessMs uint64                  `pb:"6"`
	DelegableDepth uint32                  `pb:"7"`
	Condition      string                  `pb:"8"`
	Knowledge      []*KnowledgeRequirement `pb:"9"`
	Bounds         []*Bound                `pb:"10"`
}

type KnowledgeRequirement struct {
	Source   string `pb:"1"`
	MaxAgeMs uint64 `pb:"2"`
}

type Bound struct {
	Name        string            `pb:"1"`
	Limit       uint64            `pb:"2"`
	Count       *CountBound       `pb:"3,oneof=kind"`
	Sum         *SumBound         `pb:"4,oneof=kind"`
	Rate        *RateBound        `pb:"5,oneof=kind"`
	Concurrency *ConcurrencyBound `pb:"6,oneof=kind"`
	Grant       *PerGrant         `pb:"7,oneof=per"`
	Agent       *PerAgent         `pb:"8,oneof=per"`
	Key         *string           `pb:"9,oneof=per"`
}

type CountBound struct{}

type SumBound struct {
	Argument string `pb:"1"`
}

type RateBound struct {
	WindowMs uint64 `pb:"1"`
}

type ConcurrencyBound struct{}

type PerGrant struct{}

type PerAgent struct{}

type Knowledge struct {
	Root  []byte       `pb:"1"`
	Count uint32       `pb:"2"`
	Shown []*ShownItem `pb:"3"`
}

type ShownItem struct {
	Item  *KnowledgeItem `pb:"1"`
	Index uint32         `pb:"2"`
	Path  [][]byte       `pb:"3"`
}

type KnowledgeItem struct {
	Source        string `pb:"1"`
	Digest        []byte `pb:"2"`
	RetrievedAtMs uint64 `pb:"3"`
}

type Grant struct {
	Terms  *Terms `pb:"1"`
	Schema string `pb:"2"`
}

type Delegate struct {
	Parent []byte `pb:"1"`
	Terms  *Terms `pb:"2"`
	Schema string `pb:"3"`
}

type RevokeGrant struct {
	Grant  []byte `pb:"1"`
	Reason string `pb:"2"`
}

type RevokeAgent struct {
	Agent  string `pb:"1"`
	Reason string `pb:"2"`
}

type SetRules struct {
	RulesVersion uint32 `pb:"1"`
}

type SetRoster struct {
	Voters         *VoterSet `pb:"1"`
	ReplacesBlock  uint64    `pb:"2"`
	ReplacesDigest []byte    `pb:"3"`
	Operators      [][]byte  `pb:"4"`
}

type Halt struct {
	Scope  *HaltScope `pb:"1"`
	Reason string     `pb:"2"`
}

type HaltScope struct {
	Everything *Everything `pb:"1,oneof=scope"`
	Agent      *string     `pb:"2,oneof=scope"`
	Lineage    *string     `pb:"3,oneof=scope"`
	Action     *string     `pb:"4,oneof=scope"`
	Resource   *string     `pb:"5,oneof=scope"`
	Subtree    []byte      `pb:"6,oneof=scope"`
}

type Everything struct{}

type Resume struct {
	Halt        uint64 `pb:"1"`
	HaltCommand []byte `pb:"2"`
}

type SetLineage struct {
	Lineage     string              `pb:"1"`
	Policy      *LineagePolicy      `pb:"2"`
	Constraints *LineageConstraints `pb:"3"`
	Operators   [][]byte            `pb:"4"`
}

type LineagePolicy struct {
	Quarantine   bool   `pb:"1"`
	Threshold    uint32 `pb:"2"`
	InServiceMax uint32 `pb:"3"`
}

type LineageConstraints struct {
	Actions        []string `pb:"1"`
	Resources      []string `pb:"2"`
	MaxStalenessMs uint64   `pb:"3"`
}

type RegisterGeneration struct {
	Lineage    string `pb:"1"`
	Parent     []byte `pb:"2"`
	Model      []byte `pb:"3"`
	Prompt     []byte `pb:"4"`
	Tools      []byte `pb:"5"`
	Parameters []byte `pb:"6"`
	Memory     []byte `pb:"7"`
}

type ReleaseGeneration struct {
	Lineage    string   `pb:"1"`
	Generation []byte   `pb:"2"`
	Reviewers  [][]byte `pb:"3"`
}

type RollbackLineage struct {
	Lineage    string `pb:"1"`
	Number     uint64 `pb:"2"`
	Generation []byte `pb:"3"`
}

type Authorize struct {
	Agent           string       `pb:"1"`
	Generation      []byte       `pb:"2"`
	Action          string       `pb:"3"`
	Resource        string       `pb:"4"`
	ArgsDigest      []byte       `pb:"5"`
	Args            []byte       `pb:"6"`
	Knowledge       *Knowledge   `pb:"7"`
	Hint            *GrantRef    `pb:"8"`
	Parent          *DecisionRef `pb:"9"`
	Traceparent     string       `pb:"10"`
	ExecuteWithinMs uint64       `pb:"11"`
}

type DecisionRef struct {
	Agent  string `pb:"1"`
	Number uint64 `pb:"2"`
	ID     []byte `pb:"3"`
}

type Outcome struct {
	Decision     *DecisionRef `pb:"1"`
	Kind         OutcomeKind  `pb:"2"`
	ResultDigest []byte       `pb:"3"`
}

type Block struct {
	PreviousHash []byte           `pb:"1"`
	StampMs      uint64           `pb:"2"`
	Proposer     uint64           `pb:"3"`
	Term         uint64           `pb:"4"`
	HeadBlock    uint64           `pb:"5"`
	HeadHash     []byte           `pb:"6"`
	Roster       *Roster          `pb:"7"`
	Commands     []*SignedCommand `pb:"8"`
	Signature    []byte           `pb:"9"`
}

type Entry struct {
	Command *CommandEntry `pb:"1,oneof=body"`
	State   *StateEntry   `pb:"2,oneof=body"`
}

type CommandEntry struct {
	Block   uint64         `pb:"1"`
	TimeMs  uint64         `pb:"2"`
	Signed  *SignedCommand `pb:"3"`
	Verdict *Verdict       `pb:"4"`
}

type Verdict struct {
	Number uint64  `pb:"1"`
	Permit *Permit `pb:"2,oneof=decision"`
	Denial *Denial `pb:"3,oneof=decision"`
}

type Permit struct {
	Chain      []*GrantRef    `pb:"1"`
	DeadlineMs uint64         `pb:"2"`
	Bounds     []*BoundTaken  `pb:"3"`
	Generation *GenerationRef `pb:"4"`
}

type BoundTaken struct {
	Grant *GrantRef `pb:"1"`
	Name  string    `pb:"2"`
	Limit uint64    `pb:"3"`
	Used  uint64    `pb:"4"`
	Taken uint64    `pb:"5"`
}

type Denial struct {
	Code       string            `pb:"1"`
	Cause      *Cause            `pb:"2"`
	Grant      *GrantRef         `pb:"3"`
	Agent      string            `pb:"4"`
	TimeMs     uint64            `pb:"5"`
	Bound      *ExhaustedBound   `pb:"6"`
	Knowledge  *MissingKnowledge `pb:"7"`
	Condition  *FailedCondition  `pb:"8"`
	Halted     *HaltScope        `pb:"9"`
	Reason     string            `pb:"10"`
	Lineage    string            `pb:"11"`
	Generation uint64            `pb:"12"`
	Outside    string            `pb:"13"`
}

type FailedCondition struct {
	Reason   string   `pb:"1"`
	Policies []uint32 `pb:"2"`
}

type ExhaustedBound struct {
	Name   string  `pb:"1"`
	Limit  uint64  `pb:"2"`
	Used   uint64  `pb:"3"`
	Wanted *uint64 `pb:"4,optional"`
}

type MissingKnowledge struct {
	Template      string  `pb:"1"`
	Source        string  `pb:"2"`
	MaxAgeMs      uint64  `pb:"3"`
	RetrievedAtMs *uint64 `pb:"4,optional"`
}

type StateEntry struct {
	Block        uint64  `pb:"1"`
	TimeMs       uint64  `pb:"2"`
	StateRoot    []byte  `pb:"3"`
	RosterBlock  uint64  `pb:"4"`
	RosterDigest []byte  `pb:"5"`
	RulesVersion uint32  `pb:"6"`
	Previous     *uint64 `pb:"7,optional"`
}

type Record struct {
	Kind        string             `pb:"1"`
	Anchor      []byte             `pb:"2"`
	ID          []byte             `pb:"3"`
	Ledger      *LedgerRecord      `pb:"16,oneof=body"`
	Principal   *PrincipalRecord   `pb:"17,oneof=body"`
	Agent       *AgentRecord       `pb:"18,oneof=body"`
	Page        *GrantPageRecord   `pb:"19,oneof=body"`
	Grant       *GrantRecord       `pb:"20,oneof=body"`
	Locator     *LocatorRecord     `pb:"21,oneof=body"`
	Tombstone   *TombstoneRecord   `pb:"22,oneof=body"`
	DedupBucket *DedupBucketRecord `pb:"23,oneof=body"`
	Voter       *VoterRecord       `pb:"24,oneof=body"`
	Halts       *HaltsRecord       `pb:"25,oneof=body"`
	Halt        *HaltRecord        `pb:"26,oneof=body"`
	Lineage     *LineageRecord     `pb:"27,oneof=body"`
	Generation  *GenerationRecord  `pb:"28,oneof=body"`
	Decision    *DecisionRecord    `pb:"29,oneof=body"`
	Meter       *MeterRecord       `pb:"30,oneof=body"`
}

type Cause struct {
	Index  uint64 `pb:"1"`
	Block  uint64 `pb:"2"`
	TimeMs uint64 `pb:"3"`
	Signer []byte `pb:"4"`
}

type LedgerRecord struct {
	Origin       string  `pb:"1"`
	Limits       *Limits `pb:"2"`
	RulesVersion uint32  `pb:"3"`
	Roster       *Roster `pb:"4"`
	Operators    uint32  `pb:"5"`
	RosterBlocks uint32  `pb:"6"`
}

type VoterRecord struct {
	Voter *Voter `pb:"1"`
	Added *Cause `pb:"2"`
}

type PrincipalRecord struct {
	Name      string `pb:"1"`
	Roles     []Role `pb:"2"`
	Scope     *Scope `pb:"3"`
	Added     *Cause `pb:"4"`
	Ended     *Cause `pb:"5"`
	Successor []byte `pb:"6"`
}

type AgentRecord struct {
	Owner      string `pb:"1"`
	Key        []byte `pb:"2"`
	Retired    *Cause `pb:"3"`
	Epoch      uint64 `pb:"4"`
	EpochBegan *Cause `pb:"5"`
	Grants     uint32 `pb:"6"`
	Pages      uint32 `pb:"7"`
	Lineage    string `pb:"8"`
	Decisions  uint64 `pb:"9"`
	Permits    uint64 `pb:"10"`
}

type GrantPageRecord struct {
	Grants []*GrantRef `pb:"1"`
}

type GrantRef struct {
	Grant []byte `pb:"1"`
	Root  []byte `pb:"2"`
}

type GrantRecord struct {
	Terms   *Terms `pb:"1"`
	Parent  []byte `pb:"2"`
	Depth   uint32 `pb:"3"`
	Epoch   uint64 `pb:"4"`
	Granted *Cause `pb:"5"`
	Revoked *Cause `pb:"6"`
}

type LocatorRecord struct {
	Root []byte `pb:"1"`
}

type TombstoneRecord struct {
	Revoked *Cause `pb:"1"`
}

type MeterRecord struct {
	Total *uint64     `pb:"1,oneof=spent"`
	Times *MeterTimes `pb:"2,oneof=spent"`
	Slots *MeterSlots `pb:"3,oneof=spent"`
}

type MeterTimes struct {
	TimesMs []uint64 `pb:"1"`
}

type MeterSlots struct {
	Slots []*MeterSlot `pb:"1"`
}

type MeterSlot struct {
	EndsMs   uint64 `pb:"1"`
	Decision []byte `pb:"2"`
}

type DecisionRecord struct {
	Number     uint64           `pb:"1"`
	ID         []byte           `pb:"2"`
	Decided    *Cause           `pb:"3"`
	DeadlineMs *uint64          `pb:"4,optional"`
	Spends     []*Spend         `pb:"5"`
	Outcomes   []*OutcomeRecord `pb:"6"`
}

type Spend struct {
	Anchor []byte `pb:"1"`
	ID     []byte `pb:"2"`
	Amount uint64 `pb:"3"`
}

type OutcomeRecord struct {
	Kind         OutcomeKind `pb:"1"`
	ResultDigest []byte      `pb:"2"`
	Recorded     *Cause      `pb:"3"`
}

type DedupBucketRecord struct {
	Entries uint64 `pb:"1"`
	Hash    []byte `pb:"2"`
}

type HaltsRecord struct {
	Active []*ActiveHalt `pb:"1"`
}

type ActiveHalt struct {
	Index uint64     `pb:"1"`
	Scope *HaltScope `pb:"2"`
}

type HaltRecord struct {
	Scope   *HaltScope `pb:"1"`
	Reason  string     `pb:"2"`
	Cause   *Cause     `pb:"3"`
	Command []byte     `pb:"4"`
	Resumed []*Cause   `pb:"5"`
	Ended   *Cause     `pb:"6"`
}

type LineageRecord struct {
	Policy      *LineagePolicy      `pb:"1"`
	Constraints *LineageConstraints `pb:"2"`
	Count       uint64              `pb:"3"`
	InService   []*GenerationRef    `pb:"4"`
	Set         *Cause              `pb:"5"`
	Moved       *Cause              `pb:"6"`
}

type GenerationRef struct {
	Number uint64 `pb:"1"`
	ID     []byte `pb:"2"`
}

type GenerationRecord struct {
	Number     uint64 `pb:"1"`
	Parent     []byte `pb:"2"`
	Model      []byte `pb:"3"`
	Prompt     []byte `pb:"4"`
	Tools      []byte `pb:"5"`
	Parameters []byte `pb:"6"`
	Memory     []byte `pb:"7"`
	Registered *Cause `pb:"8"`
	Released   *Cause `pb:"9"`
}

type RosterChain struct {
	Links []*RosterLink `pb:"1"`
}

type RosterLink struct {
	Roster     *Roster  `pb:"1"`
	Head       []byte   `pb:"2"`
	Statements [][]byte `pb:"3"`
}

type Answer struct {
	Head           []byte     `pb:"1"`
	Statements     [][]byte   `pb:"2"`
	HeadStatements [][]byte   `pb:"3"`
	NoncePath      *NoncePath `pb:"4"`
	Tree           []byte     `pb:"5"`
	Hint           *GrantRef  `pb:"6"`
	Language       string     `pb:"7"`
}

type NoncePath struct {
	Index  uint32   `pb:"1"`
	Count  uint32   `pb:"2"`
	Hashes [][]byte `pb:"3"`
}

type PastAnswer struct {
	Head           []byte      `pb:"1"`
	Statements     [][]byte    `pb:"2"`
	HeadStatements [][]byte    `pb:"3"`
	State          *ProvenLeaf `pb:"4"`
	Next           *ProvenLeaf `pb:"5"`
	Tree           []byte      `pb:"6"`
	Hint           *GrantRef   `pb:"7"`
	Language       string      `pb:"8"`
}

type ProvenLeaf struct {
	Index uint64   `pb:"1"`
	Entry []byte   `pb:"2"`
	Proof [][]byte `pb:"3"`
}
