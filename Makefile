# make demo: everything from nothing to the story, on a machine with a Rust toolchain and a C++ compiler.
# make test: every test, the lints, the formatting and the documentation.
# make simulate: a cluster under seeded faults, for as long as wanted.
#
# Both build with one profile and the same flags into one folder outside the checkout, so that RocksDB is
# compiled once.

CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/chancery/target
export CARGO_TARGET_DIR

.PHONY: demo replay test simulate build clean

demo:
	@deploy/demo

# make replay FILE=trajectories.jsonl
replay:
	@deploy/demo --replay "$(FILE)"

test:
	@deploy/test

# make simulate [SEEDS=100 | MINUTES=60 | SEED=17] [BUG=ack-before-sync]
simulate:
	@deploy/simulate $(if $(SEED),--seed $(SEED),$(if $(MINUTES),--minutes $(MINUTES),--seeds $(or $(SEEDS),100)))\
	    $(if $(BUG),--bug $(BUG)) $(if $(TRACE),--trace $(TRACE))

build:
	@deploy/build

clean:
	rm -rf "$(CARGO_TARGET_DIR)"
