// Package formats verifies what Chancery signs and hands out. It was written from docs/formats.md alone; § are its
// sections, and names are its names.
package formats

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Refusal is why something was not believed: the name in brackets of the document, where it has one.
type Refusal string

func (r Refusal) Error() string { return string(r) }

func under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return Refusal(prefix + "/" + err.Error())
}

// Hash is a SHA-256, an id or a key.
type Hash [32]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

func hash(parts ...[]byte) Hash {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return Hash(h.Sum(nil))
}

// labelled is the L of §1.
func labelled(label string, parts ...[]byte) Hash {
	return hash(append([][]byte{[]byte(label), {0}}, parts...)...)
}

func hash32(data []byte) (Hash, bool) {
	if len(data) != 32 {
		return Hash{}, false
	}
	return Hash(data), true
}

func u16(value int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(value)) }
func u32(value uint32) []byte { return binary.BigEndian.AppendUint32(nil, value) }
func u64(value uint64) []byte { return binary.BigEndian.AppendUint64(nil, value) }

func parseHex(text string, size int) ([]byte, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != size || hex.EncodeToString(data) != text {
		return nil, malformed
	}
	return data, nil
}

func parseBase64(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	// Go's decoder skips the ends of lines.
	if err != nil || base64.StdEncoding.EncodeToString(data) != text {
		return nil, malformed
	}
	return data, nil
}

// The y of the points of small order, little-endian and without the sign of x: of each point once as a number below
// 2^255−19, and again where that number plus 2^255−19 fits.
var smallOrder = [][]byte{
	unhex("0000000000000000000000000000000000000000000000000000000000000000"),
	unhex("0100000000000000000000000000000000000000000000000000000000000000"),
	unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
	unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}

func unhex(text string) []byte {
	data, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

func isSmallOrder(point []byte) bool {
	y := append([]byte(nil), point...)
	y[31] &= 0x7f
	for _, small := range smallOrder {
		if bytes.Equal(y, small) {
			return true
		}
	}
	return false
}

// verifySignature is §1.1. The standard library does its 1 and 3, and that A decodes; R does, since it equals the
// encoding of a point.
func verifySignature(key, signature, message []byte) bool {
	return len(key) == 32 && len(signature) == 64 && !isSmallOrder(key) && !isSmallOrder(signature[:32]) &&
		ed25519.Verify(key, message, signature)
}

func leafHash(data []byte) Hash      { return hash([]byte{0}, data) }
func nodeHash(left, right Hash) Hash { return hash([]byte{1}, left[:], right[:]) }
func hashesOf(list [][]byte) ([]Hash, bool) {
	var out []Hash
	for _, item := range list {
		h, ok := hash32(item)
		if !ok {
			return nil, false
		}
		out = append(out, h)
	}
	return out, true
}

// rootOf is the root to which an audit path leads from a leaf; its length is exact (§4).
func rootOf(leaf Hash, index, size uint64, path []Hash) (Hash, bool) {
	if index >= size {
		return Hash{}, false
	}
	inner := bits.Len64(index ^ (size - 1))
	if len(path) != inner+bits.OnesCount64(index>>inner) {
		return Hash{}, false
	}
	root := leaf
	for i, sibling := range path {
		// Above the inner part the leaf is in the last subtree of its level, and each sibling on its left.
		if i >= inner || index>>i&1 == 1 {
			root = nodeHash(sibling, root)
		} else {
			root = nodeHash(root, sibling)
		}
	}
	return root, true
}

// treeRoot is the root of RFC 6962 over leaf hashes.
func treeRoot(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return hash()
	case 1:
		return leaves[0]
	}
	split := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	return nodeHash(treeRoot(leaves[:split]), treeRoot(leaves[split:]))
}
