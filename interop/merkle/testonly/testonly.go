// Package testonly is there because the release's tests name it, so that `go mod tidy` finds it.
package testonly
