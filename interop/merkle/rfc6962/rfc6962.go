// Package rfc6962 is the release's own.
package rfc6962

import "upstream.invalid/merkle/rfc6962"

type Hasher = rfc6962.Hasher

var DefaultHasher = rfc6962.DefaultHasher
