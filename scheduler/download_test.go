package scheduler_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

// A worker is not trusted with what is unpacked on somebody's machine.
func TestArchivesThatWouldHurtAreNotPacked(t *testing.T) {
	w := teller(t, 0)
	_, url := gateway(t, scheduler.Config{}, w)
	offer := func(files ...jobs.ProgramFile) reply {
		w.Set(func(s *fleettest.State) {
			s.Before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/project" {
					return false
				}
				require.NoError(t, json.NewEncoder(rw).Encode(map[string]any{"files": files}))
				return true
			}
		})
		return post(t, url+"/download/", ada)
	}
	for name, files := range map[string][]jobs.ProgramFile{
		"zip-slip":        {{Basename: "../../etc/cron.d/x"}},
		"absolute":        {{Basename: "/etc/passwd"}},
		"backslash":       {{Basename: `..\x`}},
		"dots":            {{Basename: ".."}},
		"empty":           {{Basename: ""}},
		"NUL":             {{Basename: "a\x00b"}},
		"newline":         {{Basename: "a\nb"}},
		"option":          {{Basename: "-rf"}},
		"not UTF-8":       {{Basename: "a\xff/b"}},
		"too long":        {{Basename: strings.Repeat("a", 256)}},
		"twice":           {{Basename: "a"}, {Basename: "a"}},
		"case-fold twins": {{Basename: "Makefile"}, {Basename: "makefile"}},
		"not base64":      {{Basename: "a", Contents: "%%", Encoding: "base64"}},
	} {
		r := offer(files...)
		require.GreaterOrEqual(t, r.status, 500, name)
		require.NotContains(t, r.body, "PK\x03\x04", name)
		r.fault(t)
	}
	r := offer(jobs.ProgramFile{Basename: "a.adb", Contents: "x"}, jobs.ProgramFile{Basename: "b", Contents: "eA==", Encoding: "base64"})
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, r.body, offer(jobs.ProgramFile{Basename: "a.adb", Contents: "x"}, jobs.ProgramFile{Basename: "b", Contents: "eA==", Encoding: "base64"}).body, "equal input, equal bytes")
	z, err := zip.NewReader(bytes.NewReader([]byte(r.body)), int64(len(r.body)))
	require.NoError(t, err)
	for _, f := range z.File {
		require.Zero(t, f.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSymlink|fs.ModeDevice|fs.ModeNamedPipe), f.Name)
		require.True(t, f.Mode().IsRegular())
	}
}
