package formats

import (
	"crypto/ed25519"
	"fmt"
	"testing"
)

// The sections that show forms: what is signed, hashed and read.

func TestNames(t *testing.T) {
	each(t, known.Names, func(c nameVector) string { return fmt.Sprintf("%q", c.Text) }, func(t *testing.T, c nameVector) {
		same(t, "name", isName(c.Text), c.Name)
		same(t, "pattern", isPattern(c.Text), c.Pattern)
	})
	pair := func(c []any) string { return fmt.Sprint(c) }
	each(t, known.Patterns.Matches, pair, func(t *testing.T, c []any) {
		same(t, "matches", matches(c[0].(string), c[1].(string)), c[2])
	})
	each(t, known.Patterns.Covers, pair, func(t *testing.T, c []any) {
		same(t, "covers", covers(c[0].(string), c[1].(string)), c[2])
	})
	each(t, known.Templates, func(c templateVector) string { return c.Text }, func(t *testing.T, c templateVector) {
		same(t, "template", isTemplate(c.Text), c.Template)
	})
}

func TestArguments(t *testing.T) {
	type vector = struct{ Text, Canonical, Fault string }
	each(t, known.Arguments, func(c vector) string { return c.Text }, func(t *testing.T, c vector) {
		value, fault := parseArguments([]byte(c.Text))
		same(t, "fault", fault, c.Fault)
		if fault == "" {
			same(t, "canonical form", canonical(value), c.Canonical)
		}
	})
	// The first that is wrong is told, and that is not always that it is no JSON.
	for text, want := range map[string]string{
		`{"a":1.5`: "arguments_number", `{"a":1.`: "arguments_not_json", `{"a":1,"a"`: "arguments_duplicate_name",
		"{\"\xff\":1.5}": "arguments_not_json", "{\"a\":1.5,\"\xff\":1}": "arguments_number",
	} {
		_, fault := parseArguments([]byte(text))
		same(t, text, fault, want)
	}
}

func commandName(c commandVector) string { return c.Name }

func TestMalformedCommands(t *testing.T) {
	each(t, known.Malformed, commandName, func(t *testing.T, c commandVector) {
		_, ok := readCommand(unhexed(t, c.Command))
		same(t, "accepted", ok, c.Accepted)
	})
}

func TestCommands(t *testing.T) {
	ledger := Hash(unhexed(t, known.LedgerID))
	grants := map[string]bool{}
	each(t, known.Commands, commandName, func(t *testing.T, c commandVector) {
		envelope, err := decode[SignedCommand](unhexed(t, c.Envelope))
		if err != nil {
			t.Fatal(err)
		}
		signed, ok := readSigned(envelope)
		if !ok {
			t.Fatal("malformed")
		}
		same(t, "command", hexed(signed.Bytes), c.Command)
		same(t, "encoded again", hexed(encode(signed.Command)), c.Command)
		same(t, "envelope", hexed(encode(envelope)), c.Envelope)
		same(t, "hash", signed.Hash().String(), c.CommandHash)
		same(t, "signatures", errorText(signed.verify(ledger)), "")
		same(t, "count", len(signed.Signatures), len(c.Signatures))
		under := ledger
		if signed.Command.Genesis != nil {
			under = Hash{}
		}
		for i, s := range c.Signatures {
			got := signed.Signatures[i]
			same(t, "key", hexed(got.Key), s.Key)
			same(t, "signature", hexed(got.Signature), s.Signature)
			message, _ := signed.signedMessage(got, under)
			if s.Batch == nil {
				same(t, "message", hexed(message), c.SignedMessage)
			} else {
				same(t, "message", hexed(message), s.Batch.SignedMessage)
			}
		}
		id := func(domain string) string { return labelled(domain, ledger[:], signed.Bytes).String() }
		if c.GrantID != "" {
			same(t, "grant id", id("chancery/grant"), c.GrantID)
			grants[c.GrantID] = true
		}
		if c.DecisionID != "" {
			same(t, "decision id", id("chancery/decision"), c.DecisionID)
		}
		if c.GenerationID != "" {
			made := encode(signed.Command.RegisterGeneration)
			same(t, "generation id", labelled("chancery/generation", ledger[:], made).String(), c.GenerationID)
		}
		// One who must sign is missing, or somebody else has signed besides.
		all := signed.Signatures
		signed.Signatures = all[1:]
		same(t, "a signature less", errorText(signed.verify(ledger)), "command")
		signed.Signatures = append(all[:len(all):len(all)], all[0])
		same(t, "a signature more", errorText(signed.verify(ledger)), "command")
	})
	same(t, "grants", grants[known.Grants.Grant] && grants[known.Grants.Delegation], true)
}

func TestKeys(t *testing.T) {
	for _, k := range known.Keys {
		public := ed25519.NewKeyFromSeed(unhexed(t, k.Seed)).Public().(ed25519.PublicKey)
		same(t, k.Label, hexed(public), k.Public)
	}
	same(t, "there are keys", len(known.Keys) > 0, true)
}

// TestBlocks is that the leaves of every block are well-formed, and in the log of its head.
func TestBlocks(t *testing.T) {
	var log []Hash
	each(t, known.Blocks, func(c blockVector) string { return c.Name }, func(t *testing.T, c blockVector) {
		data := unhexed(t, c.Block)
		same(t, "hash", labelled("chancery/block/v1", data).String(), c.Hash)
		block, ok := readBlock(data)
		if !ok {
			t.Fatal("malformed")
		}
		same(t, "encoded again", hexed(encode(block)), c.Block)
		for _, leaf := range c.Leaves {
			entry := unhexed(t, leaf.Entry)
			made := leafHash(entry)
			same(t, "leaf", made.String(), leaf.Hash)
			log = append(log, made)
			command, state, err := readEntry(entry)
			same(t, "entry", errorText(err), "")
			if command != nil {
				same(t, "signatures", errorText(command.Signed.verify(Hash(unhexed(t, known.LedgerID)))), "")
			}
			if state != nil {
				same(t, "state root", hexed(state.StateRoot), c.Head.StateRoot)
			}
		}
		head, ok := readHead(unhexed(t, c.Head.Encoded))
		if !ok {
			t.Fatal("malformed head")
		}
		want := c.Head
		same(t, "head hash", head.Hash().String(), want.Hash)
		same(t, "ledger", head.Ledger.String(), want.Ledger)
		same(t, "numbers", []uint64{head.Block, head.TimeMs, head.LogSize, head.Roster.Block, uint64(head.RulesVersion)},
			[]uint64{want.Block, want.TimeMs, want.LogSize, want.RosterBlock, uint64(want.RulesVersion)})
		same(t, "state root", head.StateRoot.String(), want.StateRoot)
		same(t, "roster", head.Roster.Digest.String(), want.RosterDigest)
		same(t, "log size", head.LogSize, uint64(len(log)))
		same(t, "log root", head.LogRoot, treeRoot(log))
		same(t, "log root", head.LogRoot.String(), want.LogRoot)
	})
	same(t, "ledger id", known.Blocks[0].Hash, known.LedgerID)
}

func TestStateTree(t *testing.T) {
	state := map[Hash][]byte{}
	for _, step := range known.StateTree {
		if step.Key != "" {
			state[Hash(unhexed(t, step.Key))] = unhexed(t, step.Value)
		}
		same(t, "root", stateRoot(state).String(), step.Root)
	}
	same(t, "there are steps", len(known.StateTree) > 1, true)
}

// TestRecords is the whole state after the last block.
func TestRecords(t *testing.T) {
	state := map[Hash][]byte{}
	for _, r := range known.Records {
		anchor, id, value := unhexed(t, r.Anchor), unhexed(t, r.ID), unhexed(t, r.Value)
		key := keyOf(r.Kind, anchor, id)
		same(t, "key", key.String(), r.Key)
		record, err := readRecord(value, r.Kind, anchor, id)
		if err != nil {
			t.Errorf("%s: refused", r.Kind)
			continue
		}
		same(t, "encoded again", hexed(encode(record)), r.Value)
		_, err = readRecord(value, r.Kind, append(anchor, 0), id)
		same(t, "at another place", errorText(err), "undecided")
		state[key] = value
	}
	last := known.Blocks[len(known.Blocks)-1]
	same(t, "state root", stateRoot(state).String(), last.Head.StateRoot)
}

func TestDedup(t *testing.T) {
	chain, entries := map[uint64]Hash{}, map[uint64]uint64{}
	for _, d := range known.Dedup {
		entry := unhexed(t, d.Entry)
		r := reader{entry[80:]}
		same(t, "bucket", r.u64()/600_000, d.Bucket)
		last := chain[d.Bucket]
		chain[d.Bucket] = labelled("chancery/dedup/v1", last[:], entry)
		entries[d.Bucket]++
		// The vector tells the bucket as it is after the block, which may add more than one.
		if entries[d.Bucket] == d.After.Entries {
			same(t, "chain", chain[d.Bucket].String(), d.After.Hash)
		}
	}
	same(t, "there are entries", len(known.Dedup) > 0, true)
}

func TestNonces(t *testing.T) {
	for _, c := range known.Nonces {
		var leaves []Hash
		for _, question := range allUnhexed(t, c.Nonces) {
			leaves = append(leaves, leafHash(question))
		}
		count := uint32(len(leaves))
		same(t, "root", nonceRoot(count, treeRoot(leaves)).String(), c.Root)
		for i, path := range c.Paths {
			p := &NoncePath{Index: uint32(i), Count: count, Hashes: allUnhexed(t, path)}
			root, ok := p.root(Hash(unhexed(t, c.Nonces[i])))
			same(t, "path", ok && root.String() == c.Root, true)
			p.Hashes = append(p.Hashes, make([]byte, 32))
			_, ok = p.root(Hash(unhexed(t, c.Nonces[i])))
			same(t, "a path that is too long", ok, false)
		}
	}
	same(t, "there are rounds", len(known.Nonces) > 0, true)
}

func TestStatements(t *testing.T) {
	trust := trusted(t)
	same(t, "kinds", len(known.Statements), 2)
	for kind, c := range known.Statements {
		s, ok := readStatement(unhexed(t, c.Encoded))
		if !ok {
			t.Fatal("malformed")
		}
		same(t, "fresh", s.Fresh, kind == "fresh")
		same(t, "numbers", []uint64{s.Node, s.Epoch, s.Counter}, []uint64{c.Node, c.Epoch, c.Counter})
		same(t, "body", hexed(s.Body), c.Body)
		same(t, "message", hexed(append([]byte(statementContext+"\n"), s.Body...)), c.SignedMessage)
		same(t, "key id", hexed(s.KeyID[:]), c.KeyID)
		same(t, "signature", hexed(s.Signature), c.Signature)
		voter := voterOf([]*Roster{trust.rosters[0].roster}, s.Node)
		same(t, "verifies", errorText(s.isBy(voter)), "")
		s.Body = append([]byte(nil), s.Body...)
		s.Body[20] ^= 1
		same(t, "another body", errorText(s.isBy(voter)), "bad_signature")
	}
}

func (i *itemVector) shown(t *testing.T) *ShownItem {
	if i == nil {
		return nil
	}
	item := &KnowledgeItem{Source: i.Source, Digest: unhexed(t, i.Digest), RetrievedAtMs: i.RetrievedAtMs}
	return &ShownItem{Item: item, Index: i.Index, Path: allUnhexed(t, i.Path)}
}

func TestKnowledge(t *testing.T) {
	name := func(c knowledgeVector) string { return fmt.Sprint(c.Count) }
	each(t, known.Knowledge, name, func(t *testing.T, c knowledgeVector) {
		root := Hash(unhexed(t, c.Root))
		if int(c.Count) == len(c.Items) {
			var items []*KnowledgeItem
			for i := range c.Items {
				items = append(items, c.Items[len(c.Items)-1-i].shown(t).Item)
			}
			made, err := KnowledgeRootOf(items)
			same(t, "root", made.String()+errorText(err), c.Root)
		}
		for _, i := range c.Items {
			shown := i.shown(t)
			same(t, "its place", (&KnowledgeProof{Root: root, Count: c.Count, Present: shown}).verify(), true)
			shown.Index++
			same(t, "another place", (&KnowledgeProof{Root: root, Count: c.Count, Present: shown}).verify(), false)
		}
		for _, a := range c.Absent {
			p := &KnowledgeProof{Root: root, Count: c.Count, AbsentSource: a.Source, Before: a.Before.shown(t),
				After: a.After.shown(t)}
			same(t, "absent: "+a.Source, p.verify(), true)
			for _, neighbour := range []*ShownItem{p.Before, p.After} {
				if neighbour != nil {
					p.AbsentSource = neighbour.Item.Source
					same(t, "absent, but it is there", p.verify(), false)
				}
			}
			if p.Before != nil && p.After != nil {
				p.AbsentSource, p.Before = a.Source, nil
				same(t, "one neighbour of two", p.verify(), false)
			}
		}
	})
}
