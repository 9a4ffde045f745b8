.DEFAULT_GOAL := help
.NOTPARALLEL:

SWIFT   ?= swift
# What Package.swift does not list as a dependency cannot be imported. ARCHITECTURE.md says why.
ARROWS  := --explicit-target-dependency-import-check error
# Every test is written with Swift Testing, so the last line is its summary and not XCTest's.
TEST    := $(SWIFT) test $(ARROWS) --skip-build --disable-xctest
SOURCES := Package.swift Sources Tests Projections migrations examples Benchmarks Fuzz
# Runs a command against DATABASE_URL or PGHOST where set, else against a cluster of its own.
SANDBOX := scripts/sandbox run

# With Swift's libraries inside: it begins in 10 ms instead of 45, and runs where no Swift is.
RELEASED := $(SWIFT) build -c release --static-swift-stdlib $(ARROWS)

.PHONY: help
help: ## Print this message
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / { printf "%-26s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: doctor
doctor: ## Say what this machine has and what is missing
	@$(SWIFT) --version 2>/dev/null | head -1 || true
	@scripts/system-packages --check && echo "System packages: all there"
	@$(SANDBOX) sh -c 'psql "$$DATABASE_URL" -Atc "SELECT version()"'

.PHONY: packages
packages: ## Install the Debian packages that are missing
	@scripts/system-packages
	@command -v $(SWIFT) >/dev/null || { \
	  echo "The command '$(SWIFT)' was not found."; \
	  echo "Install Swift 6.3 (https://www.swift.org/install/linux) and put it on PATH,"; \
	  echo "or name it: make SWIFT=/path/to/swift"; \
	  exit 1; } >&2

.PHONY: build
build: packages ## Build the reprise command, optimised
	$(RELEASED) --product reprise
	@! grep -q REPRISE_STOP_AT .build/release/reprise || { \
	  echo "A switch for tests is in the optimised program." >&2; exit 1; }

# The tests and the debug `reprise` beside them, which CommandTests run.
.PHONY: build/tests
build/tests: packages
	$(SWIFT) build $(ARROWS) --build-tests

# One cluster serves everything that needs one. The consumer check is not last, so that the last
# line is a test summary.
.PHONY: test
test: packages ## Check the format and run every test
	@$(MAKE) --no-print-directory lint test/unit
	@if scripts/server-programs $(NEWEST_MAJOR) >/dev/null; then \
	  $(MAKE) --no-print-directory test/newest; \
	else echo "Left out: the tests on PostgreSQL $(NEWEST_MAJOR), whose programs are not to be had."; fi
	@$(SANDBOX) $(MAKE) --no-print-directory test/integration test/consumer bench/smoke test/command

.PHONY: test/unit
test/unit: build/tests ## Run the tests that need no database
	$(TEST) --filter '^UnitTests\.|^FuzzTests\.'

.PHONY: test/integration
test/integration: build/tests ## Run the tests against a real PostgreSQL
	$(SANDBOX) $(TEST) --filter '^IntegrationTests\.'

.PHONY: test/command
test/command: build/tests ## Run the tests of the built command
	$(SANDBOX) $(TEST) --filter '^CommandTests\.'

.PHONY: test/consumer
test/consumer: packages ## Build a package that depends on this one, and rebuild with it
	$(SANDBOX) scripts/scratch-database scripts/consumer-check

# The tests see inside the modules, which optimised code shows only when it is asked to.
RELEASE := --configuration release --scratch-path .build-release -Xswiftc -enable-testing \
           -Xswiftc -DREPRISE_STOPS

.PHONY: test/release
test/release: packages ## Run every test of optimised code
	$(SWIFT) build $(ARROWS) $(RELEASE) --build-tests
	$(TEST) $(RELEASE) --filter '^UnitTests\.|^FuzzTests\.'
	$(SANDBOX) $(TEST) $(RELEASE) --filter '^IntegrationTests\.|^CommandTests\.'

# What roles and servers set for their applications, all at once.
define ODD_SETTINGS
jit_above_cost = 0
enable_seqscan = off
default_transaction_isolation = serializable
idle_in_transaction_session_timeout = 1s
search_path = ''
endef
export ODD_SETTINGS

.PHONY: test/settings
test/settings: build/tests ## Run the tests against a server with settings that few would choose
	SANDBOX_SETTINGS="$$ODD_SETTINGS" $(SANDBOX) $(TEST) --filter '^IntegrationTests\.|^CommandTests\.'

# One of them: make test/majors MAJORS=18
MAJORS ?= $(shell scripts/server-programs --list)

.PHONY: test/majors
test/majors: build/tests ## Run what touches the server on every major of PostgreSQL that is tested
	@set -e; for major in $(MAJORS); do echo "PostgreSQL $$major"; \
	  env -u DATABASE_URL -u PGHOST SANDBOX_MAJOR=$$major $(SANDBOX) \
	  $(TEST) --filter '^IntegrationTests\.|^CommandTests\.'; done

NEWEST_MAJOR = $(lastword $(shell scripts/server-programs --list))

# What a major changes most. All of them on each major take hours on two cores.
NEWEST := MajorFeatureTests|PassedTypesTests|ColumnTypesTests|ExtensionTypesTests|StoredExpressionTests|ShapeTests
NEWEST := $(NEWEST)|SwapTests|KitchenSinkTests|RebuildTests|FollowTests|StandbyTests|StandbyCommandTests
NEWEST := $(NEWEST)|SubscriberTests|PoolerTests|NeighbourhoodTests

.PHONY: test/newest
test/newest: build/tests ## Run the suites that a major can break on the newest that is tested
	@env -u DATABASE_URL -u PGHOST SANDBOX_MAJOR=$(NEWEST_MAJOR) $(SANDBOX) $(TEST) --filter '$(NEWEST)'

# Every suite takes half an hour so; these are the ones in which threads of ours meet.
RACES := '^UnitTests\.|FoldPassTests|SideBySideLoadTests|RebuildTests|RebuildGuardTests|CatchUpTests'
RACE  := --sanitize=thread --scratch-path .build-race

.PHONY: test/race
test/race: packages ## Run what has threads under the thread sanitizer
	$(SWIFT) build $(ARROWS) $(RACE) --build-tests
	TSAN_OPTIONS=suppressions=$(CURDIR)/Tests/thread-sanitizer.txt \
	  $(SANDBOX) $(TEST) $(RACE) --filter $(RACES)

.PHONY: soak
soak: build/tests ## Rebuild under traffic, kills and crashes, the long form
	REPRISE_TEST_SOAK=1 $(SANDBOX) $(TEST) --filter \
	  'SoakTests|TrafficTests|ScheduleTests|NeighbourhoodTests|PlantedCodeTests'

# Some targets, for another time each: make fuzz TARGETS='json csv' FUZZ_SECONDS=60
FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: packages ## Read what libFuzzer makes up, under the sanitizers, ten minutes a target
	@SWIFT="$(SWIFT)" FUZZ_SECONDS=$(FUZZ_SECONDS) Fuzz/run $(TARGETS)

# Another number of events or runs: make bench EVENTS=10000000 RUNS=3
EVENTS ?= 1000000
RUNS   ?= 5

# Each workload has a server of its own where this makes one, so that all start alike.
MEASURED := $(SANDBOX) scripts/scratch-database Benchmarks

.PHONY: bench
bench: bench/programs ## Measure rebuilds beside their floor and hand-written peers
	@$(MEASURED)/run --workload shop --events $(EVENTS) --runs $(RUNS)
	@$(MEASURED)/run --workload totals --events $(EVENTS) --runs $(RUNS)

.PHONY: bench/programs
bench/programs: build
	$(RELEASED) --product RepriseTotals
	$(RELEASED) --product FoldCost

# The debug build of the tests has the same programs.
.PHONY: bench/smoke
bench/smoke: build/tests ## See whether the benchmark works, on few events
	@$(MEASURED)/run --smoke --workload shop --reprise .build/debug/reprise \
	  --fold-cost .build/debug/FoldCost
	@$(MEASURED)/run --smoke --workload totals --totals .build/debug/RepriseTotals
	@Benchmarks/ledger --smoke --reprise .build/debug/reprise --fold-cost .build/debug/FoldCost

.PHONY: bench/growth
bench/growth: bench/programs ## Measure rebuilds of 1 to 30 million events
	@$(MEASURED)/growth --workload shop
	@$(MEASURED)/growth --workload totals

# Another program in turn with this one: make bench/ledger AGAINST=/path/to/reprise
.PHONY: bench/ledger
bench/ledger: bench/programs ## Measure filling, checking and reading the ledger
	@Benchmarks/ledger --events $(EVENTS) --runs $(RUNS) $(if $(AGAINST),--against "$(AGAINST)")

.PHONY: bench/ledger-growth
bench/ledger-growth: bench/programs ## Import up to 30 million events with random ids
	@Benchmarks/ledger --growth

.PHONY: bench/instructions
bench/instructions: bench/programs ## Compare the fold's instructions with those on record
	@Benchmarks/instructions

.PHONY: bench/instructions-record
bench/instructions-record: bench/programs ## Put the fold's instructions on record
	@Benchmarks/instructions --record

# The engine is a package of 500 MB that nothing else needs, so nobody gets it unasked.
.PHONY: bench/engine
bench/engine: ## Install the engine that `make bench` measures beside the others
	python3 -m venv .bench-venv
	.bench-venv/bin/pip install --quiet --requirement Benchmarks/peers/requirements.txt

.PHONY: lint
lint: ## Check formatting and documentation comments
	$(SWIFT) format lint --strict --recursive --parallel $(SOURCES)

.PHONY: format
format: ## Rewrite the sources in the house format
	$(SWIFT) format --in-place --recursive --parallel $(SOURCES)

.PHONY: docs
docs: ## Write the pages that list which test holds which hazard, and what each major brought
	@scripts/hazard-page > docs/hazards.md.new && mv docs/hazards.md.new docs/hazards.md
	@scripts/majors-page > docs/majors.md.new && mv docs/majors.md.new docs/majors.md

.PHONY: demo
demo: build ## Watch a rebuild end in a swap, on a throwaway PostgreSQL
	@$(SANDBOX) scripts/scratch-database scripts/demo

.PHONY: sandbox
sandbox: packages ## Keep a private PostgreSQL running, print its URL
	@url=$$(scripts/sandbox start) && printf '%s\n' \
	  "A private PostgreSQL is running. To use it in this shell:" "" \
	  "    export DATABASE_URL=\"$$url\"" "" \
	  "Then 'psql \"\$$DATABASE_URL\"', 'make test' and 'reprise' all go there." \
	  "'make sandbox-stop' stops it; its data stays in .sandbox/ until 'make clean'."

.PHONY: sandbox-stop
sandbox-stop: ## Stop the PostgreSQL that 'make sandbox' started
	@scripts/sandbox stop

.PHONY: clean
clean: ## Remove build products and the sandbox with its data
	scripts/sandbox remove
	rm -rf .build-consumer .build-fuzz .build-race .build-release .demo .bench .bench-venv
	$(SWIFT) package clean
