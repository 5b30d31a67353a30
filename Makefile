SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
CYCLONEDX_VERSION := v1.10.0
# CI runs everything with the race detector; on a laptop it is RACE=-race make test.
RACE ?= $(if $(CI),-race,)
# Git's own word for the commit, when there is a git that may read this clone; Go's stamping would
# fail the build where git refuses, such as for root in another account's clone.
VERSION ?= $(shell git describe --tags --always --abbrev=12 --dirty=+changes 2>/dev/null)
BUILD_FLAGS = -buildvcs=false -ldflags "-X main.version=$(VERSION)"

.PHONY: help
help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: run
run: build ## start everything on this machine: Postgres, identity provider, sandbox, console
	@exec bin/quartermaster dev

.PHONY: build
build: ## build bin/quartermaster
	@echo "Building bin/quartermaster; the first time downloads and compiles every module, which takes a few minutes."
	@go build -v $(BUILD_FLAGS) -o bin/quartermaster ./cmd/server 2>&1 | { n=0; while IFS= read -r line; do \
	  case $$line in \
	    *[!A-Za-z0-9._~/-]*) printf '%s\n' "$$line" ;; \
	    *) n=$$((n + 1)); [ $$((n % 50)) -ne 0 ] || echo "  $$n packages compiled" ;; \
	  esac; done; }

IMAGE ?= quartermaster
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: image
image: ## build the container image $(IMAGE), without pulling anything
	@deploy/image "$(IMAGE)" "$(VERSION)"

.PHONY: tryout
tryout: image ## start a try-out in containers: Postgres, an identity provider, a stand-in for the Cloud API, the console
	@case "$${QUARTERMASTER_PUBLISH:-127.0.0.1:}" in 127.0.0.1:*) ;; *) echo "QUARTERMASTER_PUBLISH is $$QUARTERMASTER_PUBLISH, and a try-out is for this machine only: unset it." >&2; exit 1 ;; esac
	@deploy/make-secrets deploy/tryout-secrets </dev/null
	@QUARTERMASTER_IMAGE="$(IMAGE):latest" QUARTERMASTER_SECRETS=./tryout-secrets $(COMPOSE) -p quartermaster-tryout --env-file deploy/tryout.env -f deploy/compose.yaml -f deploy/compose.tryout.yaml up

.PHONY: test
test: ## run every test; installs what it needs on Debian and Ubuntu as root
	@.ci/setup
	@go build -o bin/testsummary ./.ci/testsummary
	@go test -json -timeout 30m $(RACE) ./... 2>&1 | bin/testsummary

.PHONY: bench
bench: ## measure against floors in the same run, and write docs/benchmarks.md
	@UPDATE_DOCS=1 BENCH=$${BENCH:-3s} go test -count=1 -timeout 30m -run '^TestBench$$' -v ./cmd/server

.PHONY: soak
soak: ## faults at random, consoles killed, people at work, for SOAK (10m); SOAK_SEED makes the same faults again
	@SOAK=$${SOAK:-10m} go test -count=1 -timeout 6h -run '^TestSoak$$' -v ./cmd/server

.PHONY: screenshots
screenshots: ## take the README's pictures anew
	@UPDATE_SCREENSHOTS=1 go test -count=1 -run '^TestScreenshots$$' ./cmd/server

.PHONY: generate
generate: ## make the templ code and the style sheet anew
	@go generate ./templates
	@cd static && npm ci --no-audit --no-fund && npm run build

.PHONY: docs
docs: ## write docs/audit-events.md and docs/permissions.md anew, from the act table and the roles
	@UPDATE_DOCS=1 go test -count=1 -run '^(TestAuditEventsDoc|TestPermissionsDoc)$$' ./internal/accounts

.PHONY: check-generated
check-generated: generate ## fail when committed generated files are not what generate makes
	@git diff --exit-code -- templates static || { echo "Generated files are not current: run make generate and commit the result."; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard -- templates static)" || { git ls-files --others --exclude-standard -- templates static; echo "Generated files are not committed."; exit 1; }

.PHONY: lint
lint: bin/golangci-lint-$(GOLANGCI_VERSION) ## gofmt, vet and golangci-lint with the package arrows
	@unformatted=$$(gofmt -l cmd internal migrations templates static .ci); test -z "$$unformatted" || { echo "Not formatted: $$unformatted"; exit 1; }
	@go vet ./... ./.ci/testsummary ./.ci/release
	@bin/golangci-lint-$(GOLANGCI_VERSION) run ./...

bin/golangci-lint-$(GOLANGCI_VERSION):
	@echo "Building golangci-lint $(GOLANGCI_VERSION), once; this takes one to three minutes."
	@GOBIN=$(CURDIR)/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/tools/golangci-lint $@

.PHONY: release
release: bin/cyclonedx-gomod-$(CYCLONEDX_VERSION) ## build what a release consists of into bin/release; VERSION=v1.2.3 names it
	@go run ./.ci/release -version "$(VERSION)" -sbom-tool bin/cyclonedx-gomod-$(CYCLONEDX_VERSION) $(if $(PLATFORMS),-platforms "$(PLATFORMS)")

bin/cyclonedx-gomod-$(CYCLONEDX_VERSION):
	@GOBIN=$(CURDIR)/bin/tools go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)
	@mv bin/tools/cyclonedx-gomod $@

.PHONY: clean
clean: ## remove what was built; the data of make run in .quartermaster stays
	@rm -rf bin static/node_modules
