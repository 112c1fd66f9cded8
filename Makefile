# Everything that continuous integration does is one of these; none needs set-up beyond Go (and Debian's apt for clients).
SHELL := /bin/bash
GO ?= go
export CGO_ENABLED ?= 0

FAST := ./api/... ./cmd/... ./internal/... ./test/upgrade/... ./tools/awsgen/... ./tools/bench/...
ALL := $(FAST) ./tools/demo/...

.PHONY: build demo check test fast postgres clients identity slow bench nightly fuzz generate

build: ## the binary, in bin/
	$(GO) build -trimpath -o bin/ecrin ./cmd/ecrin

demo: ## start a registry, push and pull a real image (IMAGE=path for your own), compare digests
	$(GO) run ./tools/demo $(if $(IMAGE),-image "$(IMAGE)")

check: ## formatting and static checks
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

test: postgres fast clients identity slow ## all tests: fast suite, real clients and acceptance rows, identities, crash loops, races

fast: ## the edit loop: no clients, under 30 s; wants PostgreSQL's initdb (tools/clients/install database)
	$(GO) test $(FAST)

postgres: ## the tests with PostgreSQL, against servers that they start; installs it where it is missing on Debian
	tools/clients/install database
	ECRIN_POSTGRES=1 $(GO) test -count=1 -timeout 20m ./internal/test/pgtest ./internal/store/meta ./internal/test/conformance ./test/nodes ./test/crash ./tools/demo

clients: ## real clients against the real binary; installs what is missing on Debian
	tools/clients/install
	$(GO) test -count=1 -timeout 40m ./test/clients

identity: ## the AWS SDK and the aws CLI drive IAM and STS; installs the CLI where it is missing on Debian
	tools/clients/install packages
	$(GO) test -count=1 -timeout 10m ./test/identity

slow: ## kill -9 loops, races, scale of plans, a small bench that all is measured
	ECRIN_SLOW=1 ECRIN_POSTGRES=1 $(GO) test -count=1 -timeout 60m ./test/crash ./test/nodes ./test/races ./internal/store/meta ./tools/bench ./tools/demo

bench: ## measure against real peers in one run; asserts nothing
	tools/clients/install distribution
	$(GO) run ./tools/bench

generate: ## types and tables from the service models, and generated documents
	$(GO) generate ./...

# One fuzz target after another, FUZZTIME each.
FUZZTIME ?= 60s
fuzz:
	@set -e; for pkg in $$($(GO) list $(ALL)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

nightly: ## long soaks: fuzzing, race detector, scale
	$(MAKE) fuzz
	CGO_ENABLED=1 $(GO) test -race $(ALL)
	$(GO) run ./tools/bench -scale
