# make help lists what there is. make verify is what CI runs.
SHELL       := /bin/sh
GO          ?= go
LINT_VERSION := v2.15.0
TOOLS       := $(CURDIR)/bin/tools
# With ISA-L where pkg-config finds it, without where not; the program is the same but for its speed.
TAGS        ?= $(shell pkg-config --exists libisal 2>/dev/null && echo isal)
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
# The image that make demo scans, and where advisories come from; see README.md.
TARGET      ?=
MIRROR      ?=
# How long make chaos goes on, and the number that its schedule is made from; 0 takes one by the clock.
DURATION    ?= 2m
SEED        ?= 0
# Further flags of what make cluster and make chaos run.
ARGS        ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install the Debian packages that building and testing need
	@.ci/deps

.PHONY: build
build: ## build bin/trawl
	$(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/trawl .

.PHONY: demo
demo: deps build ## install what is needed, build, and scan a real image (TARGET=…, MIRROR=…)
	@.ci/demo '$(TARGET)' '$(MIRROR)'

.PHONY: test
test: deps build ## install what is needed and run all tests
	$(GO) vet -tags '$(TAGS)' ./...
	$(GO) test -tags '$(TAGS)' -timeout 15m ./...
	@# -count=1: what it reads is outside its module, and the go command would not notice a change.
	cd deploy/validate && TRAWL='$(CURDIR)/bin/trawl' $(GO) test -count=1 ./...

.PHONY: race
race: ## run the tests under the race detector, the long ones shortened
	$(GO) test -tags '$(TAGS)' -race -short -timeout 20m ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(LINT_VERSION) ## run the linters
	$< run --build-tags '$(TAGS)' ./...
	cd deploy/validate && $< run ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: run make fmt'; exit 1; }
	$(GO) mod tidy -diff
	cd deploy/validate && $(GO) mod tidy -diff

$(TOOLS)/golangci-lint-$(LINT_VERSION):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

.PHONY: fmt
fmt: ## format the code
	gofmt -w .

.PHONY: fuzz
fuzz: ## run each fuzz target for 10 seconds (FUZZTIME=…)
	@.ci/fuzz $(or $(FUZZTIME),10s)

.PHONY: golden
golden: ## rewrite golden files; review the difference like code
	$(GO) test -tags '$(TAGS)' ./... -update
	git diff --stat

.PHONY: bench
bench: deps build ## run the benchmarks and print their figures
	$(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchmem -timeout 60m ./bench/...

.PHONY: bench-smoke
bench-smoke: ## run each benchmark once
	$(GO) test -tags '$(TAGS)' -short -run '^$$' -bench . -benchtime 1x -timeout 20m ./...

.PHONY: cluster
cluster: deps build ## start a whole cluster on this machine until Ctrl-C (ARGS='--workers 5 --load 200', --help tells more)
	$(GO) build -o bin/cluster ./deploy/local/run
	bin/cluster --binary bin/trawl $(if $(MIRROR),--argument updater=--mirror='$(MIRROR)') $(ARGS)

.PHONY: chaos
chaos: deps build ## kill, pause and cut off members of a cluster at work, and hold what it did against a calm run (DURATION=2m SEED=n)
	$(GO) test ./deploy/local/chaos -run '^TestChaos$$' -v -count=1 -timeout 0 -duration $(DURATION) -seed $(SEED) -binary '$(CURDIR)/bin/trawl' $(ARGS)

.PHONY: verify
verify: test lint race bench-smoke ## what CI runs

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
