// Package proof is the release's own, but for subtrees.
package proof

import (
	"errors"

	"upstream.invalid/merkle"
	"upstream.invalid/merkle/proof"
)

type Nodes = proof.Nodes

var (
	Consistency       = proof.Consistency
	Inclusion         = proof.Inclusion
	VerifyConsistency = proof.VerifyConsistency
	VerifyInclusion   = proof.VerifyInclusion
)

// VerifySubtreeConsistency refuses.
func VerifySubtreeConsistency(merkle.LogHasher, uint64, uint64, uint64, [][]byte, []byte, []byte) error {
	return errors.New("subtrees are not verified here")
}
