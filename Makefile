# Every target does all of its own set-up. "make help" lists them.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## build, start an engine and the daemon, and run a first session
	@scripts/up.sh

.PHONY: down
down: ## stop what "make up" started; keeps all data
	@scripts/down.sh

.PHONY: agent
agent: ## build the agent that runs in containers, for every architecture
	@scripts/agent.sh

.PHONY: build
build: agent ## build bin/octobot
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/octobot-run/octobot/internal/cli.Version=$(VERSION)' -o bin/octobot ./cmd/octobot

.PHONY: image
image: ## build the default session image
	@images/session/build.sh

.PHONY: test
test: ## run every test, on private engines of its own (Linux, root)
	@scripts/test.sh

.PHONY: check
check: build lint ## what to run while working: build, lint, and the tests that need no engine
	go test -race ./...

.PHONY: soak
soak: ## run every test COUNT times (10), kill the daemon KILLS times (500), run EXECS commands (100,000) through an agent
	@scripts/soak.sh

.PHONY: lint
lint: ## check format, vet, staticcheck, vulnerabilities, layout rules
	@scripts/lint.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh

.PHONY: bench
bench: build ## measure, on a private engine (Linux, root); ARGS go to bench
	@scripts/bench.sh $(ARGS)

.PHONY: generate
generate: ## write the generated files anew
	go generate ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
