// Package compact is the release's own.
package compact

import "upstream.invalid/merkle/compact"

type (
	HashFn       = compact.HashFn
	NodeID       = compact.NodeID
	Range        = compact.Range
	RangeFactory = compact.RangeFactory
	VisitFn      = compact.VisitFn
)

var (
	Decompose  = compact.Decompose
	NewNodeID  = compact.NewNodeID
	RangeNodes = compact.RangeNodes
	RangeSize  = compact.RangeSize
)
