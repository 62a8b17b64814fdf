package arch

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImportDirections(t *testing.T) {
	faults, files, err := Check("../..")
	require.NoError(t, err)
	require.Greater(t, files, 50, "the test must have read our sources")
	for _, f := range faults {
		t.Error(f)
	}
}

// The rules themselves can fail: each of these is forbidden.
func TestForbiddenImportsAreFound(t *testing.T) {
	for _, tc := range []struct {
		pkg  string
		test bool
		src  string
		want string
	}{
		{"chunkfs", false, `import _ "` + module + `syncer"`, "must not import syncer"},
		{"scheduler", false, `import _ "` + module + `jobs/pool"`, "must not import jobs/pool"},
		{"jobs/worker", false, `import _ "` + module + `scheduler/fleet"`, "must not import scheduler/fleet"},
		{"syncer", false, `import _ "` + module + `chunkfs/cache"`, "must not import chunkfs/cache"},
		{"internal/manifest", false, `import _ "` + module + `internal/head"`, "must not import internal/head"},
		{"scheduler", false, `import _ "github.com/hashicorp/nomad/api"`, "only"},
		{"syncer", false, `import _ "cloud.google.com/go/storage"`, "only"},
		{"jobs/pool", false, `import _ "github.com/hanwen/go-fuse/v2/fuse"`, "only"},
		{"jobs/pool", false, "import \"golang.org/x/sys/unix\"\nvar _ = unix.Setns", "only jobs/sandbox may"},
		{"brandnew", false, ``, "not in the table"},
		{"chunkfs", true, `import _ "` + module + `scheduler"`, "must not import scheduler"},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+tc.src, 0)
		require.NoError(t, err)
		faults := check(tc.pkg, tc.test, f)
		require.Len(t, faults, 1, "%s %s", tc.pkg, tc.src)
		require.Contains(t, faults[0], tc.want)
	}
}
