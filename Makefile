# make demo: everything from nothing to the story, on a machine with a Rust toolchain and a C++ compiler.
# make test: every test, the lints, the formatting and the documentation.
# make jepsen: ten minutes of faults on real clusters, judged; SECONDS=3600 for an hour of them.
# make bench: how fast, next to etcd and next to the floor, in ten minutes; FULL=1 with a million grants, FILE=… with the
#   replay of recorded tool calls.
# make fuzz: hostile bytes for every decoder, two minutes each.
# make sabotage: builds that are broken on purpose, each of which must be caught.
# make interop: tools that share no code with these, on what these make, and on a live cluster's log. It needs Go.
# make simulate: a cluster under seeded faults, for as long as wanted.
#
# All build with one profile and the same flags into one folder outside the checkout, so that RocksDB is
# compiled once.

CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/chancery/target
export CARGO_TARGET_DIR

.PHONY: demo replay test jepsen bench sabotage simulate fuzz interop build clean

demo:
	@deploy/demo

# make replay FILE=trajectories.jsonl
replay:
	@deploy/demo --replay "$(FILE)"

test:
	@deploy/test

jepsen:
	@deploy/jepsen --seconds "$(or $(SECONDS),600)"

bench:
	@FULL="$(FULL)" FILE="$(FILE)" deploy/bench

fuzz:
	@deploy/fuzz

interop:
	@deploy/interop

# make sabotage ONLY=tail-before-nonce
sabotage:
	@deploy/sabotage $(ONLY)

# make simulate [SEEDS=100 | MINUTES=60 | SEED=17] [BUG=ack-before-sync]
simulate:
	@deploy/simulate $(if $(SEED),--seed $(SEED),$(if $(MINUTES),--minutes $(MINUTES),--seeds $(or $(SEEDS),100)))\
	    $(if $(BUG),--bug $(BUG)) $(if $(TRACE),--trace $(TRACE))

build:
	@deploy/build

clean:
	rm -rf "$(CARGO_TARGET_DIR)"
