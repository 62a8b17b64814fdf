// Package arch keeps the directions in which our packages may import each other.
//
// The table below is the whole truth: a package that it does not name, an
// import that it does not allow, or a library outside its one package fails the
// test. Imports are read with go/parser, from source: `go list` would be cached
// past a change.
package arch

// module is the prefix of our own import paths.
const module = "github.com/prairielambda/prairielambda/"

// allowed names every package, and for each our own packages that it may import.
// "x/..." means x and all below it. Tests of a package may import what the
// package may, plus testOnly.
var allowed = map[string][]string{
	"internal/cli":     {},
	"internal/durable": {},
	"internal/scratch": {},
	"internal/tunnel":  {},

	"internal/telemetry": {},

	"internal/blob":          {},
	"internal/blob/dir":      {"internal/blob", "internal/durable"},
	"internal/blob/gcs":      {"internal/blob"},
	"internal/blob/mem":      {"internal/blob"},
	"internal/blob/blobtest": {"internal/blob"},
	"internal/head":          {"internal/blob"},
	"internal/head/...":      {"internal/blob", "internal/blob/gcs", "internal/durable", "internal/head"},
	"internal/manifest":      {"internal/blob"},
	"internal/recipe":        {},
	"internal/storage":       {"internal/blob/...", "internal/head/...", "internal/durable"},

	"syncer":     {"internal/blob", "internal/head", "internal/manifest", "internal/recipe", "internal/durable", "internal/storage", "syncer/..."},
	"syncer/...": {"internal/blob", "internal/head", "internal/manifest", "internal/recipe", "internal/durable", "internal/scratch", "syncer/..."},

	"chunkfs":     {"internal/blob", "internal/head", "internal/manifest", "internal/durable", "chunkfs/..."},
	"chunkfs/...": {"internal/blob", "internal/durable"},

	"jobs":                {},
	"jobs/ticket":         {},
	"jobs/sandbox":        {"jobs"},
	"jobs/runtime/python": {},
	"jobs/runtime":        {"jobs", "jobs/sandbox", "jobs/runtime/python"},
	"jobs/grade":          {"jobs", "jobs/sandbox"},
	"jobs/pool":           {"internal/recipe", "internal/tunnel", "jobs", "jobs/grade", "jobs/sandbox", "jobs/runtime"},
	"jobs/build":          {"jobs", "jobs/sandbox", "internal/recipe", "internal/tunnel"},
	"jobs/runs":           {"jobs", "internal/durable"},
	"jobs/worker":         {"jobs", "jobs/pool", "jobs/runs", "jobs/ticket", "jobs/runtime", "jobs/sandbox"},

	"scheduler":             {"internal/recipe", "jobs", "jobs/ticket", "scheduler/..."},
	"scheduler/builder":     {"internal/recipe", "jobs"},
	"scheduler/fleet":       {"jobs", "jobs/ticket", "jobs/nomadjob"},
	"scheduler/rendercache": {"jobs", "internal/durable"},
	"scheduler/token":       {"internal/durable"},
	"scheduler/runs":        {"jobs"},
	"scheduler/question":    {"jobs"},
	"scheduler/...":         {"jobs", "jobs/ticket", "scheduler/..."},

	"cmd/syncer":        {"internal/cli", "internal/recipe", "jobs/build", "jobs/sandbox", "internal/storage", "internal/blob/...", "internal/head/...", "internal/manifest", "syncer/..."},
	"cmd/chunkfs":       {"internal/cli", "internal/storage", "internal/blob/...", "internal/head/...", "chunkfs/..."},
	"cmd/scheduler":     {"internal/cli", "internal/telemetry", "internal/storage", "internal/blob", "jobs", "jobs/ticket", "scheduler/..."},
	"cmd/worker":        {"internal/cli", "internal/telemetry", "internal/storage", "internal/blob", "jobs/..."},
	"cmd/prairielambda": {"internal/...", "syncer/...", "chunkfs/...", "jobs/...", "scheduler/...", "test/course"},

	"test/arch":    {},
	"test/course":  {},
	"test/machine": {},
	"test/...":     {"internal/...", "syncer/...", "chunkfs/...", "jobs/...", "scheduler/...", "test/...", "nomad"},
	"nomad":        {},
}

// testOnly may be imported by every package's tests.
var testOnly = []string{
	"test/course", "test/machine", "internal/blob/mem", "internal/blob/dir", "internal/blob/blobtest", "internal/head/mem", "internal/head/dir",
	"internal/head/headtest", "internal/storage", "internal/cli",
}

// testImports are further imports of one package's tests: the real parts that
// they are tried against.
var testImports = map[string][]string{
	"chunkfs":       {"syncer", "syncer/env"},
	"jobs/sandbox":  {"jobs/runtime/python"}, // whose files alone it takes
	"jobs/pool":     {"jobs/runtime"},
	"jobs/runtime":  {"jobs/sandbox"},
	"scheduler/...": {"scheduler/..."},
}

// libraries may be imported by one place only.
var libraries = map[string][]string{
	"cloud.google.com/go/storage":            {"internal/blob/gcs", "internal/head/gcs"},
	"github.com/fsouza/fake-gcs-server":      {"internal/blob/gcs", "internal/head/gcs", "syncer", "test/..."},
	"github.com/hanwen/go-fuse":              {"chunkfs/...", "test/bench/...", "test/e2e/browser"},
	"github.com/hashicorp/nomad":             {"scheduler/fleet", "jobs/nomadjob", "nomad/...", "test/..."},
	"go.opentelemetry.io/otel/sdk":           {"internal/telemetry"},
	"github.com/google/go-containerregistry": {"syncer/env", "test/..."},
}

// kernel names are for jobs/sandbox alone: they make or enter namespaces.
var kernel = map[string]bool{
	"Unshare": true, "Setns": true, "PivotRoot": true, "CLONE_NEWNS": true, "CLONE_NEWUSER": true, "CLONE_NEWPID": true,
	"CLONE_NEWNET": true, "CLONE_NEWIPC": true, "CLONE_NEWUTS": true, "CLONE_NEWCGROUP": true,
}

// kernelUsers are the places that may use kernel names: the sandbox, and tests
// and benchmarks, which make machines of their own.
var kernelUsers = []string{"jobs/sandbox", "test/..."}
