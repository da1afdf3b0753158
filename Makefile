# The commands people type; meson and ninja do the work.
BUILD ?= build
PEERS ?= .venv
.PHONY: help all quickstart test test-full deps build debug asan tsan smollm2 peers bench lint format check-arrows clean

help:
	@echo "make quickstart   install what is missing, build, train the embedded model by RL"
	@echo "make test         build and run the tests (at most 10 minutes)"
	@echo "make build        release build in $(BUILD)/"
	@echo "make test-full    all tests, peers included (needs 'make peers' and 'make smollm2')"
	@echo "make peers        transformers, tokenizers, TRL in $(PEERS)/ for differential tests"
	@echo "make smollm2      SmolLM2-135M-Instruct as models/SmolLM2-135M-Instruct"
	@echo "make asan|tsan|debug   instrumented builds with their tests"
	@echo "make bench        kernel and generation figures"
	@echo "make lint|format  checks CI runs, clang-format in place"

all: build

deps:
	@tools/install-deps

build: deps
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >/dev/null
	@ninja -C $(BUILD) --quiet

quickstart: build
	@examples/quickstart.sh $(BUILD)/tlt

test: build
	@tools/run-tests $(BUILD)

test-full: build
	@TLT_FULL=1 tools/run-tests $(BUILD)

debug asan tsan: deps
	@tools/instrumented-tests $@

peers:
	@tools/install-peers $(PEERS)

smollm2: peers
	@$(PEERS)/bin/python tools/make_smollm2.py models/SmolLM2-135M-Instruct

bench: build
	$(BUILD)/tlt bench kernels
	$(BUILD)/tlt bench generate

lint: check-arrows
	@tools/lint

check-arrows:
	@tools/check-arrows

format:
	@git ls-files '*.c' '*.h' '*.js' | xargs clang-format -i

clean:
	rm -rf build build-*
