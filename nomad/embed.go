// Package nomad is the job specifications, policies and agent configuration that
// operators run, as files; see README.md.
//
// It guarantees nothing by itself: test/e2e/nomad has each of them parsed,
// planned and run by a real agent.
package nomad

import "embed"

// Files holds *.nomad.hcl, policies/, config/ and plugins/.
//
//go:embed *.nomad.hcl policies/*.hcl config/*.hcl plugins/*
var Files embed.FS
