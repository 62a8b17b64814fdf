package scheduler_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

var update = flag.Bool("update", false, "write what the gateway answers into testdata/golden")

// Each file of testdata/golden is one exchange: the request line, headers, an
// empty line and the body; then a line of dashes and the answer in the same form.
// More exchanges may follow, each behind a line of ====. {identifier} is what the
// last answer with an identifier said, which is another one each time.
func TestGoldenExchanges(t *testing.T) {
	python := printer(t, "1\n", "3.11")
	courses := sample()
	python.Set(func(s *fleettest.State) {
		s.Courses = courses
		s.Status.Name = "alloc-1"
		s.Frames = func(jobs.Program) []jobs.RunFrame {
			return []jobs.RunFrame{{Type: "console", Data: json.RawMessage(`"python3 a.py"`)}, {Type: "stdout", Data: json.RawMessage(`"1"`)}}
		}
	})
	_, url := gateway(t, scheduler.Config{}, python)
	files, err := filepath.Glob("testdata/golden/*.http")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			id := "{identifier}"
			var played []string
			for exchange := range strings.SplitSeq(string(b), next) {
				asked, _, _ := strings.Cut(exchange, "\n----\n")
				answer := play(t, url, strings.ReplaceAll(asked, "{identifier}", id))
				if m := regexp.MustCompile(`"identifier":"([^"]+)"`).FindStringSubmatch(answer); m != nil {
					id = m[1]
				}
				played = append(played, asked+"\n----\n"+strings.ReplaceAll(answer, id, "{identifier}"))
			}
			got := strings.Join(played, next)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(b), got)
		})
	}
}

const next = "\n====\n"

// What is not JSON or changes with every build has no golden body: sockets, an
// archive, metrics, and the document that lists the routes.
func TestEveryRouteHasAGoldenExchange(t *testing.T) {
	b, err := os.ReadFile("openapi.json")
	require.NoError(t, err)
	var doc struct{ Paths map[string]map[string]any }
	require.NoError(t, json.Unmarshal(b, &doc))
	var asked strings.Builder
	files, err := filepath.Glob("testdata/golden/*.http")
	require.NoError(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		asked.Write(b)
	}
	for path, methods := range doc.Paths {
		if slices.Contains([]string{"/", "/courses/{course}/{version}/session", "/download", "/metrics", "/openapi.json"}, path) {
			continue
		}
		for method := range methods {
			require.Regexp(t, "(?m)^"+strings.ToUpper(method)+" "+regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, `[^ ]+`)+"/?$", asked.String())
		}
	}
}

func play(t *testing.T, url, asked string) string {
	t.Helper()
	head, body, _ := strings.Cut(asked, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	header := []string{"Prairie-Id", "golden"}
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ": ")
		header = append(header, k, v)
	}
	r := do(t, method, url+path, body, header...)
	var out strings.Builder
	fmt.Fprintf(&out, "%d %s\n", r.status, http.StatusText(r.status))
	for _, k := range []string{"Content-Type", "Prairie-Cache", "Prairie-Id", "Prairie-Version", "Retry-After"} {
		if v := r.header.Get(k); v != "" {
			fmt.Fprintf(&out, "%s: %s\n", k, v)
		}
	}
	return out.String() + "\n" + r.body + "\n"
}
