package formats

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// §3: what a command must be, and who must have signed it.

// Signed is a command with its signatures.
type Signed struct {
	Command    *Command
	Bytes      []byte
	Signatures []*Signature
}

// Hash is the command hash.
func (s *Signed) Hash() Hash { return labelled("chancery/command-hash/v1", s.Bytes) }

func readSigned(envelope *SignedCommand) (*Signed, bool) {
	if envelope == nil || len(envelope.Signatures) > 64 {
		return nil, false
	}
	command, ok := readCommand(envelope.Command)
	if !ok {
		return nil, false
	}
	var last []byte
	for _, s := range envelope.Signatures {
		if len(s.Key) != 32 || len(s.Signature) != 64 || bytes.Compare(last, s.Key) >= 0 {
			return nil, false
		}
		last = s.Key
		if b := s.Batch; b != nil {
			if _, ok := hashesOf(b.Hashes); !ok || b.Count < 1 || b.Count > 1024 || b.Index >= b.Count {
				return nil, false
			}
		}
	}
	return &Signed{command, envelope.Command, envelope.Signatures}, true
}

// verify holds the signatures against those required.
func (s *Signed) verify(ledger Hash) error {
	if s.Command.Genesis != nil {
		ledger = Hash{}
	}
	required := map[string]bool{string(s.Command.Signer): true}
	for _, key := range s.Command.cosigners() {
		required[string(key)] = true
	}
	if len(required) != len(s.Signatures) {
		return Refusal("command")
	}
	for _, signature := range s.Signatures {
		message, ok := s.signedMessage(signature, ledger)
		if !ok || !required[string(signature.Key)] || !verifySignature(signature.Key, signature.Signature, message) {
			return Refusal("command")
		}
	}
	return nil
}

func (s *Signed) signedMessage(signature *Signature, ledger Hash) ([]byte, bool) {
	batch := signature.Batch
	if batch == nil {
		return bytes.Join([][]byte{[]byte("chancery/command/v1"), {0}, ledger[:], s.Bytes}, nil), true
	}
	path, ok := hashesOf(batch.Hashes)
	if !ok {
		return nil, false
	}
	commandHash := s.Hash()
	root, ok := rootOf(leafHash(commandHash[:]), uint64(batch.Index), uint64(batch.Count), path)
	together := labelled("chancery/command-batch/v1", u32(batch.Count), root[:])
	return bytes.Join([][]byte{[]byte("chancery/commands/v1"), {0}, ledger[:], together[:]}, nil), ok
}

// cosigners are who must sign besides the signer.
func (c *Command) cosigners() [][]byte {
	switch {
	case c.RotatePrincipal != nil:
		return [][]byte{c.RotatePrincipal.NewKey}
	case c.SetRoster != nil:
		return c.SetRoster.Operators
	case c.SetLineage != nil:
		return c.SetLineage.Operators
	case c.ReleaseGeneration != nil:
		return c.ReleaseGeneration.Reviewers
	case c.Genesis != nil:
		var keys [][]byte
		for _, p := range c.Genesis.Principals {
			if p.Roles[0] == 1 {
				keys = append(keys, p.Key)
			}
		}
		return keys
	}
	return nil
}

func readCommand(data []byte) (*Command, bool) {
	if len(data) > 16_384 {
		return nil, false
	}
	c, err := decode[Command](data)
	if err != nil || len(c.Signer) != 32 || len(c.RequestID) != 16 {
		return nil, false
	}
	return c, c.isWellFormed()
}

func (c *Command) isWellFormed() bool {
	switch {
	case c.Genesis != nil:
		return c.Genesis.isWellFormed()
	case c.AddPrincipal != nil:
		return c.AddPrincipal.Principal.isWellFormed()
	case c.RemovePrincipal != nil:
		return len(c.RemovePrincipal.Key) == 32
	case c.RotatePrincipal != nil:
		return len(c.RotatePrincipal.OldKey) == 32 && len(c.RotatePrincipal.NewKey) == 32
	case c.RegisterAgent != nil:
		r := c.RegisterAgent
		return isName(r.Agent) && isName(r.Owner) && isHashOrNone(r.Key) && (r.Lineage == "" || isName(r.Lineage))
	case c.RetireAgent != nil:
		return isName(c.RetireAgent.Agent)
	case c.Grant != nil:
		return c.Grant.Terms.isWellFormed() && isSchema(c.Grant.Schema)
	case c.Delegate != nil:
		return len(c.Delegate.Parent) == 32 && c.Delegate.Terms.isWellFormed() && isSchema(c.Delegate.Schema)
	case c.RevokeGrant != nil:
		return len(c.RevokeGrant.Grant) == 32 && isReason(c.RevokeGrant.Reason)
	case c.RevokeAgent != nil:
		return isName(c.RevokeAgent.Agent) && isReason(c.RevokeAgent.Reason)
	case c.SetRules != nil:
		return true
	case c.SetRoster != nil:
		r := c.SetRoster
		return r.Voters.isWellFormed() && len(r.ReplacesDigest) == 32 && areCosigners(r.Operators, c.Signer)
	case c.Halt != nil:
		return c.Halt.Scope.isWellFormed() && isReason(c.Halt.Reason)
	case c.Resume != nil:
		return len(c.Resume.HaltCommand) == 32
	case c.SetLineage != nil:
		l := c.SetLineage
		return isName(l.Lineage) && l.Policy.isWellFormed() && l.Constraints.isWellFormed() &&
			areCosigners(l.Operators, c.Signer)
	case c.RegisterGeneration != nil:
		g := c.RegisterGeneration
		return isName(g.Lineage) && isHashOrNone(g.Parent) && len(g.Model) == 32 && len(g.Prompt) == 32 &&
			len(g.Tools) == 32 && len(g.Parameters) == 32 && len(g.Memory) == 32
	case c.ReleaseGeneration != nil:
		g := c.ReleaseGeneration
		return isName(g.Lineage) && len(g.Generation) == 32 && areCosigners(g.Reviewers, c.Signer)
	case c.RollbackLineage != nil:
		return isName(c.RollbackLineage.Lineage) && len(c.RollbackLineage.Generation) == 32
	case c.Authorize != nil:
		return c.Authorize.isWellFormed()
	case c.Outcome != nil:
		o := c.Outcome
		return o.Decision != nil && o.Decision.isWellFormed() && 1 <= o.Kind && o.Kind <= 4 && isHashOrNone(o.ResultDigest)
	}
	return false
}

func isHashOrNone(data []byte) bool { return len(data) == 0 || len(data) == 32 }

func isSchema(text string) bool { return text == "" || isConditionText(text, 8192) }

func areCosigners(keys [][]byte, signer []byte) bool {
	return len(keys) <= 63 && areKeys(keys) && !contains(keys, signer)
}

// areKeys is whether they have 32 bytes, and are sorted, none twice.
func areKeys(keys [][]byte) bool {
	for i, key := range keys {
		if len(key) != 32 || i > 0 && bytes.Compare(keys[i-1], key) >= 0 {
			return false
		}
	}
	return true
}

func contains(list [][]byte, item []byte) bool {
	for _, other := range list {
		if bytes.Equal(other, item) {
			return true
		}
	}
	return false
}

func (p *Principal) isWellFormed() bool {
	return p != nil && len(p.Key) == 32 && isName(p.Name) && areRoles(p.Roles) && p.Scope.isWellFormed()
}

func areRoles(roles []Role) bool {
	for i, role := range roles {
		if role < 1 || role > 7 || i > 0 && roles[i-1] >= role {
			return false
		}
	}
	return len(roles) > 0
}

func (s *Scope) isWellFormed() bool {
	return s != nil && arePatterns(s.Agents) && arePatterns(s.Actions) && arePatterns(s.Resources)
}

func (s *HaltScope) isWellFormed() bool {
	switch {
	case s == nil:
		return false
	case s.Everything != nil:
		return true
	case s.Agent != nil:
		return isName(*s.Agent)
	case s.Lineage != nil:
		return isName(*s.Lineage)
	case s.Action != nil:
		return isPattern(*s.Action)
	case s.Resource != nil:
		return isPattern(*s.Resource)
	default:
		return len(s.Subtree) == 32
	}
}

func (p *LineagePolicy) isWellFormed() bool {
	return p != nil && 1 <= p.Threshold && p.Threshold <= 64 && 1 <= p.InServiceMax && p.InServiceMax <= 8
}

func (c *LineageConstraints) isWellFormed() bool {
	return c != nil && arePatterns(c.Actions) && arePatterns(c.Resources)
}

func (t *Terms) isWellFormed() bool {
	if t == nil || !isName(t.Agent) || len(t.Actions) == 0 || !arePatterns(t.Actions) || len(t.Resources) == 0 ||
		!arePatterns(t.Resources) || t.NotBeforeMs >= t.NotAfterMs || t.MaxStalenessMs == 0 || t.DelegableDepth > 8 ||
		t.Condition != "" && !isConditionText(t.Condition, 4096) || len(t.Knowledge) > 8 || len(t.Bounds) > 8 {
		return false
	}
	for i, k := range t.Knowledge {
		if !isTemplate(k.Source) || k.MaxAgeMs == 0 || i > 0 && t.Knowledge[i-1].Source >= k.Source {
			return false
		}
	}
	for i, b := range t.Bounds {
		if !b.isWellFormed() || i > 0 && t.Bounds[i-1].Name >= b.Name {
			return false
		}
	}
	return true
}

func (b *Bound) isWellFormed() bool {
	if !isIdentifier(b.Name) || b.Limit == 0 || b.Grant == nil && b.Agent == nil && b.Key == nil ||
		b.Key != nil && !isName(*b.Key) {
		return false
	}
	switch {
	case b.Count != nil:
		return b.Limit < 1<<63
	case b.Sum != nil:
		return b.Limit < 1<<63 && isIdentifier(b.Sum.Argument)
	case b.Rate != nil:
		return b.Limit <= 256 && 1 <= b.Rate.WindowMs && b.Rate.WindowMs <= 31_622_400_000
	default:
		return b.Concurrency != nil && b.Limit <= 64
	}
}

func (g *Genesis) isWellFormed() bool {
	if g.Origin == "" || len(g.Origin) > 255 || strings.ContainsRune(g.Origin, '+') || g.Limits == nil ||
		!g.Limits.isWellFormed() || g.Roster == nil || !g.Roster.isWellFormed() || len(g.Roster.Sets) != 1 ||
		len(g.Principals) < 1 || len(g.Principals) > 64 {
		return false
	}
	for _, c := range g.Origin {
		if isSpace(c) || isControl(c) {
			return false
		}
	}
	operators := 0
	for i, p := range g.Principals {
		if !p.isWellFormed() || i > 0 && bytes.Compare(g.Principals[i-1].Key, p.Key) >= 0 {
			return false
		}
		if p.Roles[0] == 1 {
			operators++
		}
	}
	return operators >= 1 && operators >= int(g.Limits.OperatorThreshold)
}

func (l *Limits) isWellFormed() bool {
	within := func(value, least, most uint64) bool { return least <= value && value <= most }
	return within(uint64(l.SignaturesPerCommandMax), 2, 64) &&
		within(uint64(l.GrantsPerAgentMax), 1, 4096) &&
		within(uint64(l.DedupEntriesPerSignerMax), 1, 10_000_000) &&
		within(uint64(l.DelegationDepthMax), 0, 8) &&
		within(uint64(l.ProofSizeBytesMax), 65_536, 16_777_216) &&
		within(l.StalenessCapMs, 1, 3_600_000) &&
		within(l.ClockSkewMsMax, 1, 60_000) &&
		within(uint64(l.OperatorThreshold), 1, uint64(l.SignaturesPerCommandMax)) &&
		within(uint64(l.ResumerThreshold), 1, 64) &&
		within(uint64(l.OpenDecisionsPerAgentMax), 1, 65_536) &&
		within(l.ExecutionMsMax, 1, 3_600_000)
}

func (d *DecisionRef) isWellFormed() bool { return isName(d.Agent) && d.Number > 0 && len(d.ID) == 32 }

func (a *Authorize) isWellFormed() bool {
	return isName(a.Agent) && isHashOrNone(a.Generation) && isName(a.Action) && isName(a.Resource) &&
		len(a.ArgsDigest) == 32 && len(a.Args) <= 4096 && (a.Knowledge == nil || a.Knowledge.isWellFormed()) &&
		(a.Hint == nil || a.Hint.isWellFormed()) && (a.Parent == nil || a.Parent.isWellFormed()) &&
		isTraceparent(a.Traceparent) && a.ExecuteWithinMs > 0
}

func isTraceparent(text string) bool {
	if text == "" {
		return true
	}
	parts := strings.Split(text, "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return false
	}
	for _, part := range parts[1:] {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != ""
}

func (r *GrantRef) isWellFormed() bool { return r != nil && len(r.Grant) == 32 && len(r.Root) == 32 }

// Describe is the kind of a scope, and its subject.
func (s *HaltScope) Describe() (kind, subject string) {
	switch {
	case s.Everything != nil:
		return "everything", ""
	case s.Agent != nil:
		return "agent", *s.Agent
	case s.Lineage != nil:
		return "lineage", *s.Lineage
	case s.Action != nil:
		return "action", *s.Action
	case s.Resource != nil:
		return "resource", *s.Resource
	default:
		return "subtree", hex.EncodeToString(s.Subtree)
	}
}
