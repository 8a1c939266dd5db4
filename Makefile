# Every target is one line; `go test ./...` with this GOFLAGS works alone.
export GOFLAGS := -tags=netgo,osusergo,sqlite_omit_load_extension,duckdb_arrow
export CGO_ENABLED := 1
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# What ld warns of, look-ups of users and hosts in a static binary, is never done.
QUIET := $(shell ld --help 2>/dev/null | grep -q -- --no-warnings && echo -Wl,--no-warnings)
LDFLAGS := -s -w -linkmode external -extldflags "-static $(QUIET)" -X main.version=$(VERSION)
OUT ?= bin/eider
N ?= 20
FUZZTIME ?= 10s

.PHONY: build run test race fuzz bench lint e2e image crash

build:; @.ci/needs && go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT) ./cmd/eider
run: build; ./bin/eider serve
test: lint build; .ci/needs test && go test -timeout 30m ./... && $(MAKE) fuzz FUZZTIME=1s
race:; go test -race -timeout 60m ./...
fuzz:; .ci/fuzz $(FUZZTIME)
bench:; @.ci/needs test && go test -count=1 -timeout 0 -v -run '^TestClaims$$' ./cmd/eider -args -claims
lint:; .ci/lint
e2e:; @.ci/needs test && go test -count=1 ./cmd/eider
crash:; @.ci/needs test && EIDER_CRASH_ROUNDS=$(N) go test -count=1 -timeout 0 -v -run 'Crash|PowerCut|FaultPoints' ./cmd/eider
image:; docker build --build-arg VERSION=$(VERSION) -t eider:$(VERSION) -t eider:latest .
