# A list of what can be done; the work is in tools/, CMakePresets.json and tests/.
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 3600
KILLS ?= 200
JOBS ?= $(shell nproc)
CTEST = ctest --output-on-failure --parallel $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help build run test bench bench-train fuzz format tidy soak test-asan test-hostile test-ubsan test-tsan test-arm test-clients
.PHONY: test-kills test-lora test-real clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1@/p' Makefile | column -t -s @

build:  ## build everything, optimised, in build/release
	@tools/install_packages build
	@tools/build release

run:  ## build, fetch a small model and chat (as ./run)
	@./run

test:  ## build and run every test (as ./test)
	@./test

bench: build  ## the models at hand beside llama.cpp and the machine's limits, with charts
	@bench/run

bench-train: build  ## training steps beside PyTorch, where torch and transformers are installed
	@bench/train

fuzz:  ## fuzz each target for FUZZ_SECONDS (60)
	@tools/install_packages build fuzz
	@tools/build fuzz
	@tools/fuzz $(FUZZ_SECONDS)

format:  ## put the code into its format
	@tools/install_packages test
	@tools/format --fix

tidy:  ## clang-tidy over the tree; FILES="src/x.cpp ..." takes these only
	@tools/install_packages build tidy
	@tools/build release
	@tools/clang_tidy $(FILES)

test-asan:  ## the tests under AddressSanitizer and UBSan
	@tools/install_packages build fetch test
	@tools/build asan
	@$(CTEST) --test-dir build/asan --label-exclude real

test-hostile:  ## damaged files of every kind, 10,000 bits of each, under AddressSanitizer and UBSan
	@tools/install_packages build fetch test
	@tools/build asan
	@MINKE_HOSTILE_ROUNDS=10000 build/asan/tests/hostile/hostile_test

test-ubsan:  ## the tests under UBSan
	@tools/install_packages build fetch test
	@tools/build ubsan
	@$(CTEST) --test-dir build/ubsan --label-exclude real

test-tsan:  ## the tests under ThreadSanitizer
	@tools/install_packages build fetch test
	@tools/build tsan
	@$(CTEST) --test-dir build/tsan --label-exclude real

test-arm:  ## the kernels built for AArch64, tested under qemu
	@tools/install_packages build arm
	@tools/fetch_arm_libraries build/arm/libraries
	@tools/build arm
	@# qemu does not tell what is present of mapped files.
	@GTEST_FILTER=-ResidenceTest.WhatWasTouchedIsPresent $(CTEST) --test-dir build/arm

test-real:  ## tests with real models (fetches 1.7 GB)
	@tools/install_packages build fetch test
	@tools/build release
	@tools/fetch_model smollm2 qwen2.5-coder-0.5b qwen2.5-coder-1.5b r1-distill-header
	@$(CTEST) --parallel 1 --test-dir build/release --label-regex real

test-lora:  ## fifty made-up facts taught to SmolLM2 by adapters (a quarter of an hour)
	@tools/install_packages build fetch test
	@tools/build release
	@tools/fetch_model smollm2
	@python3 tests/lora/facts.py

test-clients:  ## coding agents from npm and PyPI against Qwen2.5-Coder-1.5B (fetches 1.1 GB and the agents)
	@tools/install_packages build fetch test
	@tools/build release
	@tools/fetch_model qwen2.5-coder-1.5b
	@python3 tests/clients/agents_run.py

soak:  ## the server under mixed clients for SOAK_SECONDS (3600)
	@tools/install_packages build fetch test
	@tools/build release
	@tools/fetch_model smollm2
	@python3 tests/soak/soak.py $(SOAK_SECONDS)

test-kills:  ## a server killed KILLS times (200) at random moments, and what it says after
	@tools/install_packages build fetch test
	@tools/build release
	@tools/fetch_model smollm2
	@python3 tests/soak/kills.py $(KILLS)

clean:  ## remove build/; models stay
	@rm -rf build
