# The targets contain everything that continuous integration runs. They need only Go, and on Debian apt-get for the clients.
SHELL := /bin/bash
GO ?= go
export CGO_ENABLED ?= 0
# With this, what one checkout has compiled serves another one.
export GOFLAGS ?= -trimpath

TESTED := ./api/... ./cmd/... ./internal/... ./test/upgrade/... ./test/outside/... ./test/deliver/report/... ./tools/awsgen/... ./tools/bench/... ./tools/check/... ./tools/mutate/... ./tools/pack/... ./tools/clients/...
ALL := $(TESTED) ./tools/demo/...

# SERVERS matches the packages whose tests start servers or wait; the fast suite is the rest of TESTED.
SERVERS := /internal/(core/(registry|pullthrough|events|replication)|deliver/(bundle|rancher|rewrite|install)|door|main|op|net/oidc|store/audit|test/conformance)(/|$$)|/(tools/mutate|test/upgrade|test/outside|test/deliver/report)$$

# SLOW has tests that the fast suite shortens or leaves out.
SLOW := ./internal/store/meta/... ./internal/store/blob/... ./internal/core/... ./internal/op/iam ./internal/op/sts ./internal/door/awsapi ./internal/door/ociapi ./internal/door/trail ./internal/deliver/install ./internal/main/app

.PHONY: build demo demo-vendor demo-release image packages check test database fast servers postgres clients identity kubernetes slow bench screenshots pictures nightly fuzz mutate generate

BUILDFLAGS ?= -trimpath
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo +)
build: ## build the program, bin/ecrin
	$(GO) build $(BUILDFLAGS) $(if $(filter-out +,$(COMMIT)),-ldflags "-X github.com/ecrin-dev/ecrin/internal/main/cli.commit=$(COMMIT)") -o bin/ecrin ./cmd/ecrin

demo: ## start a registry, push and pull a real image (IMAGE=path for another one), compare digests
	@tools/elapsed 'building the demo' $(GO) build -o bin/demo ./tools/demo
	@bin/demo $(if $(IMAGE),-image "$(IMAGE)")

demo-vendor: ## walk through what a vendor and a customer do: two releases, a private registry, installation, update; prints each command
	@tools/elapsed 'the walk-through of a vendor' $(GO) test -count=1 -v ./internal/main/cli -run TestVendorWalkthrough

demo-release: ## walk through what a platform does before a deployment: policy of another account, region, build; prints each command
	@tools/elapsed 'the walk-through of an application' $(GO) test -count=1 -v ./internal/main/cli -run TestReleaseWalkthrough

# The image and the packages are written to DIST.
DIST ?= dist
VERSION ?= 0.0.0
ARCHES ?= amd64 arm64
image: ## write the container image for linux/amd64 and linux/arm64 to dist/image (OCI layout) and dist/ecrin.oci.tar
	@tools/elapsed 'building the image' $(GO) run ./tools/image -out $(DIST)

packages: ## write Debian packages of VERSION for ARCHES to dist/
	@tools/packages "$(DIST)" "$(VERSION)" $(ARCHES)

check: ## check the formatting, run vet and staticcheck, compare go.mod, unreachable functions and licences with what is listed
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	cd deploy/testcontainers && $(GO) vet ./... && $(GO) mod tidy -diff
	$(GO) run ./tools/check

test: database fast servers clients identity kubernetes slow ## run all tests: PostgreSQL, fast suite, servers, real clients, IAM and STS, Kubernetes, crash loops, races

# The tests keep their files in memory where that is possible, and their programs have no tables for debuggers, which take a third of
# the time of linking. Four packages run at a time, for some of their tests wait.
quick = memory=$$(tools/memory); TMPDIR=$${memory:-$${TMPDIR:-/tmp}} tools/elapsed '$(1)' $(GO) test -p 4 -ldflags=-w $$($(GO) list $(TESTED) | grep $(2) '$(SERVERS)')

fast: ## run the fast suite: rules, stores, what needs no server; needs initdb of PostgreSQL (tools/clients/install database)
	@$(call quick,fast suite,-vE)

servers: ## run the tests of doors, operations and commands, which start servers
	@$(call quick,tests with servers,-E)

database:
	tools/clients/install database

postgres: database ## run the tests with PostgreSQL servers, which they start, those of crash loops in short; installs PostgreSQL on Debian if it is missing
	ECRIN_POSTGRES=1 tools/elapsed 'tests with PostgreSQL' $(GO) test -count=1 -timeout 20m ./internal/test/pgtest ./internal/store/meta ./internal/test/conformance ./test/nodes ./test/crash ./tools/demo

clients: ## run real clients with the real program; installs missing clients on Debian
	tools/clients/install
	tools/elapsed 'real clients' $(GO) test -count=1 -timeout 40m ./test/clients ./test/deploy ./test/deliver/bundle ./test/console
	tools/elapsed 'builds by buildah' $(GO) test -count=1 -timeout 10m ./internal/main/cli -run 'TestR7Build|TestReleaseWalkthrough'

identity: ## use IAM and STS with the AWS SDK and the aws CLI; installs missing clients on Debian
	tools/clients/install packages
	tools/elapsed 'IAM and STS with SDK and aws CLI' $(GO) test -count=1 -timeout 10m ./test/identity

kubernetes: ## run pull secrets and installations against real clusters, with a real node (2 min; needs root); builds Kubernetes if it is missing (half an hour)
	tools/clients/install kubernetes
	tools/clients/install helm
	tools/elapsed 'Kubernetes' $(GO) test -count=1 -p 1 -timeout 25m ./test/deliver/kube ./test/deliver/charts ./test/deliver/install

# It includes what postgres runs.
slow: database ## run a third of the sweeps of failing statements, the kill -9 loops, the races, attacks on the memory of the process, two processes on one database, the scale tests, a short benchmark, the demo, all with PostgreSQL too
	ECRIN_SLOW=1 ECRIN_POSTGRES=1 tools/elapsed 'slow tests' $(GO) test -count=1 -timeout 60m ./test/crash ./test/nodes ./test/races ./test/attacks ./internal/test/pgtest ./internal/test/conformance $(SLOW) ./tools/bench ./tools/demo
	ECRIN_SLOW=1 tools/elapsed 'package of Debian' $(GO) test -count=1 -timeout 15m ./test/deploy -run TestDebianPackage

bench: ## measure ecrin and its peers in one run; checks no figure
	tools/clients/install distribution
	$(GO) run ./tools/bench

# mutate takes a sample of N changes of a package, which SEED determines. TESTS are the packages whose tests run, if
# not its own; RUN, a regular expression, leaves tests out: what is noticed is then a lower bound. AT has lines, such as main.go:7.
PKG ?= ./internal/rule/policy
SEED ?= 1
N ?= 60
mutate: ## change a package (PKG) in N places or in the lines AT, one at a time, and list the changes that its tests do not notice
	$(GO) run ./tools/mutate -pkg $(PKG) -seed $(SEED) -n $(N) $(if $(TESTS),-tests "$(TESTS)") $(if $(RUN),-run '$(RUN)') $(if $(AT),-at $(AT))

generate: ## generate types and tables from the service models
	$(GO) generate ./...

# fuzz runs one fuzz target after another, each for FUZZTIME.
FUZZTIME ?= 60s
fuzz:
	@set -e; for pkg in $$($(GO) list $(ALL)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

screenshots: ## write pictures of the pages of the console to dist/screenshots
	ECRIN_SCREENSHOTS=$(CURDIR)/$(DIST)/screenshots $(GO) test -count=1 ./test/console

pictures: ## make the pictures of the README again, docs/images
	ECRIN_PICTURES=$(CURDIR)/docs/images $(GO) test -count=1 ./test/console -run TestPicturesOfReadme

nightly: ## run the long tests: fuzzing, race detector, scale, all failing statements, all steps of a collection against those of clients, 200 kills, a week of pull secrets
	$(MAKE) fuzz
	CGO_ENABLED=1 $(GO) test -race $(ALL)
	$(GO) run ./tools/bench -scale
	ECRIN_SLOW=nightly ECRIN_POSTGRES=1 $(GO) test -count=1 -timeout 240m $(SLOW)
	ECRIN_SLOW=nightly ECRIN_POSTGRES=1 $(GO) test -count=1 -timeout 120m ./test/crash
	ECRIN_SLOW=nightly $(GO) test -count=1 -timeout 60m ./test/deliver/kube -run TestDaysOfRefreshing
	ECRIN_SLOW=nightly ECRIN_POSTGRES=1 $(GO) test -count=1 -timeout 60m ./test/nodes -run TestChangesAreSeenByOthers
