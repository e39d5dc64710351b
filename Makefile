SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

# The flags are part of the build cache's key: every command of this repository uses the same ones, so that Kubernetes is compiled once.
# Without debugger data that takes an eighth less time; for a debugger: make build GOFLAGS=
export GOTOOLCHAIN := local
export CGO_ENABLED ?= 0
export GOFLAGS ?= -buildvcs=false -trimpath -gcflags=all=-dwarf=false
# The compiler collects its garbage less often: a quarter less processor time.
export GOGC ?= 400

# The linter vets; to vet again in every test compiles the facts of all dependencies once more.
NOVET := -vet=off

TOOL := go tool -modfile=hack/tools/go.mod
LINT := $(TOOL) golangci-lint-kube-api-linter run
LAB := go run -C hack/lab ./cmd/lab
CHART := charts/bourse

##@ Everyday
.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2} /^##@ / {printf "\n%s\n", substr($$0, 5)}' Makefile

.PHONY: demo
demo: ## Show a job's whole life, on chain included, in a lab on this machine. No root. KEEP=1 leaves it up.
	@$(MAKE) -s fetch & # what will be compiled last is downloaded while the first is compiled
	@$(LAB) assets > /dev/null & # the longest build begins while the demo itself is downloaded and compiled
	go run ./hack/demo $(if $(KEEP),--keep)

.PHONY: demo-ray
demo-ray: ## The same for a real Ray program on real kubelets. Needs root on Linux. KEEP=1 leaves it up.
	go run ./hack/demo --ray $(if $(KEEP),--keep)

.PHONY: test
test: unit sim-money program-test integration e2e ## Run all tests. This is what CI runs.

.PHONY: check
check: verify lint test ## All that must hold before a push.

##@ Tests, by tier
.PHONY: unit
unit: ## The pure core and the controllers, with the race detector.
	CGO_ENABLED=1 CGO_CFLAGS='-g -O2 -Wno-deprecated-declarations' $(TOOL) gotestsum --format pkgname -- $(NOVET) -race -shuffle=on -timeout 25m $$(go list ./... | grep -vE '/test/(integration|chart|chaintest|swapprogram|e2e|sim/money)')
	go test $(NOVET) ./internal/nvml/... # once more as the agent's image has it, without cgo

.PHONY: sim-money
sim-money: ## Play SEEDS (300) schedules of everything that can go wrong with money, and the mutants. SEED=n shows one, MUTANT='name' under that rule.
	go test $(NOVET) ./test/sim/money -count=1 -timeout 20m -v $(if $(SEED),-run 'TestMoneyIs' -seed=$(SEED) -mutant='$(MUTANT)',-seeds=$(or $(SEEDS),300))

.PHONY: sim
sim: ## Play the jobs of TRACE (a folder as Gavel publishes them; an excerpt) in the market of PARAMETERS: who is served, waits, prices, income.
	@go run ./hack/sim $(if $(TRACE),--trace $(TRACE)) $(if $(PARAMETERS),--parameters $(PARAMETERS))

.PHONY: program-test
program-test: ## The on-chain program: natively, against its mutants if it changed, and rebuilt from source.
	$(MAKE) -C program test mutants-current verify

.PHONY: integration
integration: ## Against a real API server, and the money against the local chain.
	KUBEBUILDER_ASSETS=$$($(LAB) assets) $(TOOL) gotestsum --format pkgname -- $(NOVET) -count=1 ./test/integration/... ./test/chart/... ./test/chaintest/... ./test/swapprogram/...
	cd hack/lab && go test -count=1 ./...

.PHONY: e2e
e2e: ## The real binaries in the lab: the demo's flow, faults, and real Ray where root allows.
	$(TOOL) gotestsum --format standard-verbose -- $(NOVET) -count=1 -timeout 40m ./test/e2e/...

.PHONY: e2e-federation
e2e-federation: ## Suppliers and a buyer in clusters of their own, and a link to the hub that fails in every way: 26 minutes; the end-to-end tests have the first half.
	go test $(NOVET) ./test/e2e -count=1 -timeout 60m -v -run 'TestAFederated|TestPartitions' -partitions

.PHONY: kill-money
kill-money: ## Kill the real manager at every step of real settlements on the local chain; the end-to-end tests do it at some.
	go test $(NOVET) ./test/e2e -count=1 -timeout 40m -v -run TestKillingTheManagerAtAnyStepPaysOnce -every-point

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s).
	@for pkg in $$(grep -rl --include=*_test.go 'func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -rhoE 'func Fuzz\w+' $$pkg | awk '{print $$2}'); do go test ./$$pkg -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-30s}; done; done

.PHONY: bench
bench: ## Run the core's benchmarks.
	go test ./internal/... -run '^$$' -bench . -benchmem

.PHONY: supply
supply: ## Hold what a pool of NODES (1000) fake nodes offers against a recount, whatever happens to nodes, pods and GPUs; take GPUs back.
	go test $(NOVET) ./test/e2e -count=1 -timeout 30m -v -run TestOffersAreWhatIsThere -nodes=$(or $(NODES),1000)

.PHONY: bench-market
bench-market: ## Let the real manager match JOBS (1000) jobs on NODES (1000) fake nodes: processor time and API writes for each, and waiting times.
	go test $(NOVET) ./test/e2e -run '^$$' -bench '^BenchmarkMarket$$' -benchtime 1x -timeout 30m -v -jobs=$(or $(JOBS),1000) -market-nodes=$(or $(NODES),1000)

.PHONY: bench-hub
bench-hub: ## Let SUPPLIERS (2000) simulated suppliers keep a hub busy and come back all at once: what each costs it.
	go test $(NOVET) ./test/e2e -run '^$$' -bench '^BenchmarkHub$$' -benchtime 1x -timeout 60m -v -suppliers=$(or $(SUPPLIERS),2000)

.PHONY: bench-book
bench-book: ## The matcher on 110 000 offers of 1.09 million GPUs: median and 99th percentile. BASE=file compares with an earlier run.
	@mkdir -p bin
	go test ./internal/book -run '^$$' -bench '^BenchmarkBook$$' -benchmem -count $(or $(COUNT),6) > bin/bench-book.txt
	$(TOOL) benchstat $(BASE) bin/bench-book.txt

.PHONY: bench-agent
bench-agent: ## Measure what the node's agent takes with eight GPUs, for FOR (5m).
	go test ./test/agent -count=1 -timeout 0 -v -run TestFootprint -footprint=$(or $(FOR),5m)

##@ Code
.PHONY: build
build: ## Build the manager and the agent into bin/.
	go build -tags=grpcnotrace -ldflags='-s -w' -o bin/ ./cmd/...

.PHONY: generate
generate: ## Regenerate deep copies, CRDs, roles, the chart's copies and the API reference.
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	$(TOOL) controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	hack/generate-chart.sh
	$(TOOL) crd-ref-docs --log-level=ERROR --config=hack/crd-ref-docs.yaml --source-path=api --renderer=markdown --output-path=docs/api.md

.PHONY: fmt
fmt: ## Format the code and fix what the linter can.
	$(LINT) --fix ./...

.PHONY: lint
lint: ## Lint the code, the API and the chart.
	$(LINT) ./...
	$(LINT) --config .golangci-kal.yaml ./api/...
	go run -C hack/tools ./chart lint --root ../.. $(CHART)

.PHONY: verify
verify: generate ## Fail if generated files or modules are not as committed.
	go mod tidy -diff
	@git diff --exit-code --stat -- . && test -z "$$(git status --porcelain)"

.PHONY: costs
costs: ## Measure what every instruction of the on-chain program costs, and write it into docs/money.md.
	$(MAKE) -C program costs

.PHONY: program
program: ## Rebuild the on-chain program and its hash.
	$(MAKE) -C program

##@ Lab
.PHONY: fetch
fetch: ## Download the modules that the lab and the tools are built from.
	@cd hack/lab/cluster && go list -deps ./cmd/... > /dev/null
	@for module in hack/lab/kwok hack/lab/kuberay hack/tools; do (cd $$module && go list -deps tool > /dev/null); done

.PHONY: lab-up
lab-up: ## Start the lab in .lab and leave it running.
	$(LAB) up --dir $(CURDIR)/.lab

.PHONY: lab-down
lab-down: ## End the lab in .lab and remove it.
	$(LAB) down --dir $(CURDIR)/.lab
