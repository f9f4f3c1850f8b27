package formats

import (
	"bytes"
	"encoding/binary"
)

// §6.1: a part of the state tree, and reading from it.

const undecided = Refusal("undecided")

type prunedKind byte

const (
	prunedInner    prunedKind = 1
	prunedLeaf     prunedKind = 2
	prunedWithheld prunedKind = 3
	prunedBare     prunedKind = 4
	prunedEmpty    prunedKind = 5
	// At the next bit, with the hash of the one side, and the other side behind it.
	prunedBareLeft  prunedKind = 6
	prunedBareRight prunedKind = 7
)

type prunedNode struct {
	kind        prunedKind
	bit         byte
	left, right *prunedNode
	key         Hash
	value       []byte
	hash        Hash // of a leaf without its value, its hash; then of the node
	used        bool
}

// Pruned is a read set.
type Pruned struct {
	root   *prunedNode
	leaves []*prunedNode // 02 and 03
}

var emptyTree = hash([]byte{0x12})

func bitOf(key Hash, bit byte) byte { return key[bit/8] >> (7 - bit%8) & 1 }

// firstDifference of two keys that differ.
func firstDifference(a, b Hash) int {
	for bit := 0; bit < 256; bit++ {
		if bitOf(a, byte(bit)) != bitOf(b, byte(bit)) {
			return bit
		}
	}
	return -1
}

// ReadPruned reads one, by its rules 1 to 6.
func ReadPruned(data []byte) (*Pruned, error) {
	p := &Pruned{}
	root, _, rest, ok := p.read(data, -1)
	if !ok || len(rest) > 0 || root.kind == prunedBare && root.hash == emptyTree {
		return nil, malformed
	}
	p.root = root
	return p, nil
}

// read takes a node, and tells the first leaf beneath it. `above` is the bit of the inner node above it.
func (p *Pruned) read(data []byte, above int) (node, first *prunedNode, rest []byte, ok bool) {
	if len(data) == 0 {
		return nil, nil, nil, false
	}
	r := reader{data[1:]}
	node = &prunedNode{kind: prunedKind(data[0])}
	switch node.kind {
	case prunedInner, prunedBareLeft, prunedBareRight:
		return p.readInner(node, r.data, above)
	case prunedLeaf:
		if len(r.data) < 34 {
			return nil, nil, nil, false
		}
		node.key = r.hash()
		size := int(binary.BigEndian.Uint16(r.take(2)))
		if len(r.data) < size {
			return nil, nil, nil, false
		}
		node.value = r.take(size)
		node.hash = hash(node.value)
	case prunedWithheld:
		if len(r.data) < 64 {
			return nil, nil, nil, false
		}
		node.key, node.hash = r.hash(), r.hash()
	case prunedBare:
		if len(r.data) < 32 {
			return nil, nil, nil, false
		}
		node.hash = r.hash()
		return node, nil, r.data, true
	case prunedEmpty:
		node.hash = emptyTree
		return node, nil, r.data, above < 0
	default:
		return nil, nil, nil, false
	}
	node.hash = hash([]byte{0x10}, node.key[:], node.hash[:])
	p.leaves = append(p.leaves, node)
	return node, node, r.data, true
}

func (p *Pruned) readInner(node *prunedNode, data []byte, above int) (_, first *prunedNode, rest []byte, ok bool) {
	bit := above + 1
	r := reader{data}
	given := &prunedNode{kind: prunedBare}
	if node.kind == prunedInner {
		if len(data) < 1 {
			return nil, nil, nil, false
		}
		bit = int(r.take(1)[0])
	} else {
		if len(data) < 32 {
			return nil, nil, nil, false
		}
		given.hash = r.hash()
	}
	if bit <= above || bit > 255 {
		return nil, nil, nil, false
	}
	var onLeft, onRight *prunedNode
	node.bit, node.left, node.right, rest, ok = byte(bit), given, given, r.data, true
	if node.kind != prunedBareLeft {
		if node.left, onLeft, rest, ok = p.read(rest, bit); !ok {
			return nil, nil, nil, false
		}
	}
	if node.kind != prunedBareRight {
		if node.right, onRight, rest, ok = p.read(rest, bit); !ok {
			return nil, nil, nil, false
		}
	}
	isShort := node.kind != prunedInner
	couldBeShort := bit == above+1 && (node.left.kind == prunedBare) != (node.right.kind == prunedBare)
	if !node.joins(onLeft, onRight) || couldBeShort != isShort {
		return nil, nil, nil, false
	}
	node.kind = prunedInner
	node.hash = hash([]byte{0x11}, u16(bit), node.left.hash[:], node.right.hash[:])
	if onLeft == nil {
		onLeft = onRight
	}
	return node, onLeft, rest, true
}

// joins are the rules of an inner node: 3 and 5.
func (n *prunedNode) joins(l, r *prunedNode) bool {
	if n.left.kind == prunedBare && n.right.kind == prunedBare || l != nil && bitOf(l.key, n.bit) != 0 ||
		r != nil && bitOf(r.key, n.bit) != 1 {
		return false
	}
	return l == nil || r == nil || firstDifference(l.key, r.key) == int(n.bit)
}

// Root is the hash of the tree.
func (p *Pruned) Root() Hash { return p.root.hash }

// Get reads a key: nil if it is absent.
func (p *Pruned) Get(key Hash) ([]byte, error) {
	node := p.root
	for node.kind == prunedInner {
		if bitOf(key, node.bit) == 0 {
			node = node.left
		} else {
			node = node.right
		}
	}
	switch {
	case node.kind == prunedEmpty:
		return nil, nil
	case node.kind == prunedBare:
		return nil, undecided
	case bytes.Equal(node.key[:], key[:]):
		if node.kind == prunedWithheld {
			return nil, undecided
		}
		node.used = true
		return node.value, nil
	default:
		if node.kind == prunedWithheld {
			node.used = true
		}
		return nil, nil
	}
}

// allUsed is whether every opened leaf was.
func (p *Pruned) allUsed() bool {
	for _, leaf := range p.leaves {
		if !leaf.used {
			return false
		}
	}
	return true
}

// stateRoot is the root of the state tree of keys and values (§6).
func stateRoot(state map[Hash][]byte) Hash {
	var keys []Hash
	for key := range state {
		keys = append(keys, key)
	}
	return subtreeRoot(keys, state)
}

func subtreeRoot(keys []Hash, state map[Hash][]byte) Hash {
	switch len(keys) {
	case 0:
		return emptyTree
	case 1:
		value := hash(state[keys[0]])
		return hash([]byte{0x10}, keys[0][:], value[:])
	}
	first := 256
	for _, key := range keys[1:] {
		if bit := firstDifference(keys[0], key); bit < first {
			first = bit
		}
	}
	var sides [2][]Hash
	for _, key := range keys {
		side := bitOf(key, byte(first))
		sides[side] = append(sides[side], key)
	}
	left, right := subtreeRoot(sides[0], state), subtreeRoot(sides[1], state)
	return hash([]byte{0x11}, u16(first), left[:], right[:])
}
