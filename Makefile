# `make` prints this list. Anything longer than a line is a script or Rust.
.PHONY: help play test check bench bench-failover conformance drill bless fmt fuzz run deny
CARGO ?= cargo

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

play: ## A primary, two replicas and Pointsman before them, now: what is missing is fetched and built; OPTIONS=--chaos
	@scripts/need-toolchain && scripts/install-servers any && $(CARGO) run --locked --release -- playground $(OPTIONS)

test: ## Every test, hermetic and against real MariaDB and MySQL
	@scripts/need-toolchain && scripts/install-servers mariadb mysql && scripts/install-conformance python && $(CARGO) test --locked --no-fail-fast --all-targets

check: ## What CI runs: formatting, lints, documentation, dependencies, every test
	@scripts/check

bench: ## What the proxy costs, beside HAProxy, in half an hour; OPTIONS=--quick: in minutes; OPTIONS=--help: more
	@scripts/need-toolchain && scripts/install-servers mysql && scripts/install-bench && $(CARGO) bench --locked --bench cluster -- $(OPTIONS)

bench-failover: ## How long writes wait while the primary changes; OPTIONS=--help: more
	@scripts/need-toolchain && scripts/install-servers mariadb mysql && $(CARGO) bench --locked --bench failover -- $(OPTIONS)

conformance: ## Drivers' own tests, directly and through the proxy; OPTIONS=--quick: the short ones; OPTIONS=--help: more
	@scripts/need-toolchain && scripts/install-servers mariadb mysql && $(CARGO) run --locked --example conformance -- $(OPTIONS)

drill: ## Failover drills on containers, each with its verdict; NAME=primary_crash: one; OPTIONS=--list: which there are
	@scripts/drill $(if $(NAME),--name $(NAME)) $(OPTIONS)

bless: ## Rewrite the expected results of case files; read the diff before you commit it
	BLESS=1 $(CARGO) test --test it

fmt: ## Format the code
	$(CARGO) fmt

run: ## Run the proxy: make run CONFIG=config/minimal.toml
	$(CARGO) run --release -- run --config $(CONFIG)

deny: ## Licences, banned crates and sources of the dependencies
	@scripts/deny
