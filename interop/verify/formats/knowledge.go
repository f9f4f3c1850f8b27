package formats

import (
	"bytes"
	"sort"
)

// §3.2: what an agent had in front of it.

const itemsMax = 4096

func (i *KnowledgeItem) isWellFormed() bool {
	return i != nil && isName(i.Source) && len(i.Digest) == 32
}

func (i *KnowledgeItem) leaf() Hash {
	return hash([]byte{0}, u16(len(i.Source)), []byte(i.Source), i.Digest, u64(i.RetrievedAtMs))
}

func (i *KnowledgeItem) less(other *KnowledgeItem) bool {
	if i.Source != other.Source {
		return i.Source < other.Source
	}
	if order := bytes.Compare(i.Digest, other.Digest); order != 0 {
		return order < 0
	}
	return i.RetrievedAtMs < other.RetrievedAtMs
}

func knowledgeRoot(count uint32, root Hash) Hash {
	return labelled("chancery/knowledge/v1", u32(count), root[:])
}

// KnowledgeRootOf is the root of all the items.
func KnowledgeRootOf(items []*KnowledgeItem) (Hash, error) {
	items = append([]*KnowledgeItem(nil), items...)
	sort.Slice(items, func(i, j int) bool { return items[i].less(items[j]) })
	var leaves []Hash
	for i, item := range items {
		if !item.isWellFormed() || i > 0 && !items[i-1].less(item) {
			return Hash{}, malformed
		}
		leaves = append(leaves, item.leaf())
	}
	if len(leaves) < 1 || len(leaves) > itemsMax {
		return Hash{}, malformed
	}
	return knowledgeRoot(uint32(len(leaves)), treeRoot(leaves)), nil
}

// isUnder is whether an item's place is shown in the tree of a root.
func (s *ShownItem) isUnder(root Hash, count uint32) bool {
	if s == nil || !s.Item.isWellFormed() {
		return false
	}
	path, ok := hashesOf(s.Path)
	if !ok {
		return false
	}
	tree, ok := rootOf(s.Item.leaf(), uint64(s.Index), uint64(count), path)
	return ok && knowledgeRoot(count, tree) == root
}

func (k *Knowledge) isWellFormed() bool {
	root, ok := hash32(k.Root)
	if !ok || k.Count < 1 || k.Count > itemsMax || len(k.Shown) > 16 {
		return false
	}
	for i, shown := range k.Shown {
		if !shown.isUnder(root, k.Count) {
			return false
		}
		if i > 0 && (k.Shown[i-1].Index >= shown.Index || !k.Shown[i-1].Item.less(shown.Item)) {
			return false
		}
	}
	return true
}

// KnowledgeProof shows that an item was there, or that an item or a source was not.
type KnowledgeProof struct {
	Root    Hash
	Count   uint32
	Present *ShownItem
	// What was not there: either of the first two, between the places beside it.
	AbsentSource string
	AbsentItem   *KnowledgeItem
	Before       *ShownItem
	After        *ShownItem
}

// ReadKnowledgeProof reads and verifies a `chancery-knowledge/v1` file, against the root that it names itself.
func ReadKnowledgeProof(file []byte) (*KnowledgeProof, error) {
	p, err := parseKnowledgeProof(file)
	if err == nil && !p.verify() {
		err = Refusal("knowledge")
	}
	return p, err
}

func (p *KnowledgeProof) verify() bool {
	if p.Present != nil {
		return p.Present.isUnder(p.Root, p.Count)
	}
	if p.Before != nil && (!p.Before.isUnder(p.Root, p.Count) || !p.isAfter(p.Before.Item)) ||
		p.After != nil && (!p.After.isUnder(p.Root, p.Count) || !p.isBefore(p.After.Item)) {
		return false
	}
	switch {
	case p.Before != nil && p.After != nil:
		return p.Before.Index+1 == p.After.Index
	case p.Before != nil:
		return p.Before.Index == p.Count-1
	default:
		return p.After != nil && p.After.Index == 0
	}
}

func (p *KnowledgeProof) isAfter(item *KnowledgeItem) bool {
	if p.AbsentItem != nil {
		return item.less(p.AbsentItem)
	}
	return item.Source < p.AbsentSource
}

func (p *KnowledgeProof) isBefore(item *KnowledgeItem) bool {
	if p.AbsentItem != nil {
		return p.AbsentItem.less(item)
	}
	return p.AbsentSource < item.Source
}
