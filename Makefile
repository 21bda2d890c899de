# Bulkhead needs nothing but Go to build. `make help` lists the targets.

GO       ?= go
BUF      ?= $(GO) run github.com/bufbuild/buf/cmd/buf@v1.75.0
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X bulkhead/launcher/version.Version=$(VERSION)
# grpcnotrace leaves out of gRPC what would draw in templates: 3 ms of each start.
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -ldflags "$(LDFLAGS)"

.PHONY: help build proto proto-check lint fmt clean test test-verified test-lanes test-race posture bench fuzz suites drill

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## every program, into bin/
	@mkdir -p bin
	$(GOBUILD) -o bin/sandbox-launch ./launcher/sandbox-launch
	$(GOBUILD) -o bin/bulkhead ./launcher/bulkhead
	$(GOBUILD) -o bin/bulkhead-sentry ./services/sentry
	$(GOBUILD) -o bin/bulkhead-gofer ./services/gofer
	$(GOBUILD) -o bin/bulkhead-netd ./services/netd

# What generated code comes from, and what came of it. To compile buf for a check takes
# minutes, so its last run is remembered by these sums.
SCHEMAS := $(sort $(wildcard proto/*/v1/*.proto proto/*/v1/*.pb.go)) buf.gen.yaml buf.yaml
SUMS    := { sha256sum $(SCHEMAS); $(GO) list -m google.golang.org/protobuf; }

proto: ## lint the schemas, then regenerate proto/**/*.pb.go
	$(BUF) lint
	$(BUF) generate
	@$(SUMS) >proto/schemas.sum

proto-check: ## fail when a schema or generated code has changed since make proto
	@$(SUMS) | diff proto/schemas.sum - || { echo "proto: generated code is not what make proto has made of the schemas: run it and commit" >&2; exit 1; }

lint: ## gofmt, go vet, buf lint
	@test -z "$$(gofmt -l launcher proto services test)" || { gofmt -l launcher proto services test; echo "gofmt: run make fmt" >&2; exit 1; }
	CGO_ENABLED=0 $(GO) vet ./...
	$(BUF) lint

fmt: ## gofmt and buf format, in place
	gofmt -w launcher proto services test
	$(BUF) format -w

# Packages whose tests are worth running under the race detector, which needs a
# C compiler. The platform's guests are not Go, and the detector's own memory
# layout is in their way; a program with cgo cannot be sealed, which jail tests.
RACE := $(GO) list ./proto/channel/... ./launcher/... ./services/... | grep -v -E '/(platform|mm|task|loader|container|jail)(/|$$)'

# A test that fails runs once more, alone, and is told as unsteady if it passes then.
STEADY := $(GO) run ./test/steady --

# Programs that are compared wait as much as they compute: three at once on two cores; attacks
# take all that there is, and so are one for each core.
PARALLEL := $(shell expr $$(nproc) + 1)

test: build test-race ## unit tests, programs on the host and in the sandbox, script tests
	CGO_ENABLED=0 $(STEADY) -timeout 8m ./launcher/... ./proto/... ./services/...
	BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(STEADY) -count=1 -timeout 12m ./test/hostile
	BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(STEADY) -count=1 -p 1 -parallel $(PARALLEL) -timeout 12m $$($(GO) list ./test/... | grep -v /hostile)

test-verified: build ## the programs of test/posix and test/hostile once more, in strict mode
	BULKHEAD_TEST_FULL=1 BULKHEAD_TEST_FLAGS=--mm=verified BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) test -count=1 -p 1 -timeout 20m ./test/posix ./test/hostile

test-lanes: build ## the programs of test/posix once more, with no call site rewritten
	BULKHEAD_TEST_FLAGS=--rewrite=off BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) test -count=1 -p 1 -timeout 15m ./test/posix

drill: build ## packetdrill scripts on the host and in a sandbox: SCRIPTS='linux/tools/testing/selftests/net/packetdrill/*.pkt'
	BULKHEAD_DRILL='$(SCRIPTS)' BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) test -v -count=1 -parallel 4 -timeout 20m -run TestOthers ./test/drill

test-race: ## unit tests under the race detector, where there is a C compiler
	@if command -v gcc >/dev/null; then CGO_ENABLED=1 $(STEADY) -race -short -timeout 8m $$($(RACE)); else echo "no gcc: tests run without the race detector"; fi

posture: build ## what each live process may do; fails on a power that nothing grants
	BULKHEAD_BIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) test -count=1 -v -run TestPosture ./test/posture

bench: build ## the table: native, this sandbox, runc (needs gcc; installs runc if it can; BENCHFLAGS=-quick)
	@command -v runc >/dev/null || apt-get install -y -qq --no-install-recommends runc >/dev/null 2>&1 || true
	$(GO) run ./test/bench $(BENCHFLAGS)

suites: build ## other people's test suites, on the host and in the sandbox (an hour or two; names the packages it wants; SUITES=REGEXP, PARTS="NAME ...")
	$(GO) run ./test/suites -only '$(SUITES)' -parts '$(PARTS)'

fuzz: ## every fuzz target for FUZZTIME (20s) each
	test/fuzz/run

clean: ## remove what build left
	rm -rf bin
