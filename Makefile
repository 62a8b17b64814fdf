# Everything a developer types. Programs are built without cgo, so that one
# static binary runs on any Linux of its architecture.

GO     ?= go
COURSE ?= test/course/sample
# The packages whose tests take longest begin first: none of them is left to run alone.
LONG = ./test/e2e ./jobs/pool ./test/attacks ./test/e2e/browser ./chunkfs ./test/e2e/nomad

.PHONY: screenshots release run build test check race fuzz bench soak clean nomad-agent cluster cluster-down cluster-test

run: build            ## serve a course at http://127.0.0.1:3000
	@.ci/install run
	bin/prairielambda dev $(COURSE)

# The tag leaves out what the bucket's client needs for gRPC, which we do not speak:
# 20 MB of each program that opens a store, and 3 ms of each start.
build:                ## bin/{syncer,chunkfs,scheduler,worker,prairielambda}
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -tags disable_grpc_modules -o bin/ ./cmd/...

# Two packages at a time, on a machine of any size: the tests wait about as long as
# they compute, and each looks only at what it made itself (see test/machine).
test: build           ## every test; REQUIRE_ALL=1 turns a skipped one into a failure
	@.ci/install test
	$(GO) test -timeout 20m -p 2 $(LONG) ./...

check:                ## what needs no machine: format, vet, staticcheck, import rules, go.mod
	@fmt=$$($(GO) tool gofumpt -l .); [ -z "$$fmt" ] || { echo "not gofumpt-clean: $$fmt"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 ./test/arch
	$(GO) mod tidy -diff

race: build           ## the tests of what is concurrent, under the race detector (needs cgo and gcc)
	@.ci/install test
	CGO_ENABLED=1 $(GO) test -race -p 1 -timeout 40m ./internal/... ./syncer/... ./chunkfs/... ./jobs/... ./scheduler/...

FUZZTIME ?= 2m
fuzz:                 ## every fuzz target, one after another, FUZZTIME each
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

soak: build           ## the long proofs whole; make test runs them at a fiftieth of their length
	@.ci/install soak
	SOAK=1 REQUIRE_ALL=1 $(GO) test -count=1 -p 1 -timeout 6h ./...

bench: build          ## tables against named peers, as ratios of one run
	@.ci/install bench
	@for b in test/bench/*/; do [ -f "$$b/main.go" ] || continue; echo "== $$b"; $(GO) run "./$$b" || exit 1; done
	@echo "== from save to pixels"; $(GO) test -run '^$$' -bench SaveToPixels -benchtime 1x ./test/e2e/browser

screenshots: build    ## pictures of every view of the author's page in dist/screenshots: light, dark, at phone width
	@.ci/install test
	SCREENSHOTS=$(CURDIR)/dist/screenshots REQUIRE_ALL=1 $(GO) test -count=1 -run TestEveryViewInEveryLook ./test/e2e/browser

release:              ## programs for amd64 and arm64, an OCI image and checksums in dist; no Docker
	@.ci/install release
	$(GO) run ./.ci/release

clean:                ## what a build made
	rm -rf bin dist

nomad-agent:          ## a Nomad agent, built once into a cache folder unless there is one; prints its path
	@nomad/agent/build

cluster: build        ## three Nomad servers and two clients on this machine that serve the sample course; prints addresses
	@$(GO) run ./test/e2e/nomad/cluster up

cluster-down:         ## end it; nothing is left
	@$(GO) run ./test/e2e/nomad/cluster down

cluster-test:         ## the drills of nomad/README.md on such a cluster, under load; DRILLS=drills, updates, upkeep, scaling, flood or warm for a part
	DRILLS=$(DRILLS) $(GO) test -count=1 -v -tags cluster -timeout 30m -run TestDrills ./test/e2e/nomad
