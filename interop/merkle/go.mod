module github.com/transparency-dev/merkle

go 1.25.0

require upstream.invalid/merkle v0.0.2

replace upstream.invalid/merkle v0.0.2 => github.com/transparency-dev/merkle v0.0.2
