package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const refusingRole = "prairielambda-refusing"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == refusingRole {
		_ = json.NewEncoder(os.Stdout).Encode(childReady{Error: "this machine forbids it"})
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A child that ends before it has read what it should do is heard nevertheless. What
// this one should read is more than the pipe takes.
func TestAChildThatEndsAtOnceSaysWhy(t *testing.T) {
	_, err := start(t.Context(), refusingRole, childConfig{Point: strings.Repeat("x", 1<<20)}, io.Discard)
	require.EqualError(t, err, "this machine forbids it")
}
