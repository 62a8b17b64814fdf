package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// edits saves a file n times, each time with another text for what the page shows
// of it, and returns how long each took until the browser had drawn it.
func (c *chromium) edits(file, old string, n int) (took []time.Duration) {
	c.t.Helper()
	eval[int](c, `window.drawn = []; addEventListener("message", e => {
		if (e.data && e.data.type === "ready") requestAnimationFrame(() => requestAnimationFrame(() => drawn.push(performance.timeOrigin + performance.now())));
	}); 0`)
	for i := range n {
		text := fmt.Sprintf("edit number %d", i)
		start := time.Now()
		c.d.edit(file, old, text)
		c.wait(fmt.Sprintf("drawn.length === %d", i+1))
		at := eval[float64](c, "drawn.at(-1)")
		took = append(took, time.UnixMicro(int64(at*1000)).Sub(start))
		old = text
	}
	return took
}

func TestAnEditIsSeen(t *testing.T) {
	d := startDev(t, sample(t))
	c := openChromium(t, d)
	c.open("/question/physics/incline")
	took := c.edits("questions/physics/incline/question.html", "rests on a slope", 7)
	slices.Sort(took)
	t.Logf("from save to pixels: p50 %v, min %v, max %v", took[3], took[0], took[6])

	d.edit("questions/physics/incline/server.py", "def generate(data):", "def generate(data)")
	c.do(chromedp.WaitVisible(chromedp.CSS("#issues")))
	require.Contains(t, c.text("#issues"), "questions/physics/incline/server.py, line 7")
	d.edit("questions/physics/incline/server.py", "def generate(data)", "def generate(data):")
	c.do(chromedp.WaitNotPresent(chromedp.CSS("#issues")), chromedp.WaitVisible(chromedp.CSS("#question")))
	c.checkRequests()
}

// BenchmarkSaveToPixels is about the time from a save to what the browser drew.
func BenchmarkSaveToPixels(b *testing.B) {
	for _, tc := range []struct {
		name, page, dir, old string
		course               func(dir string) error
	}{
		{"sample", "physics/incline", "physics/incline", "rests on a slope", course.WriteSample},
		{"10000 files", "topic000/unit00/q000000", "topic000/unit00/q000000", "What is", func(dir string) error {
			_, err := course.Generated(dir, 10_000, 1)
			return err
		}},
	} {
		for _, file := range []string{"question.html", "server.py"} {
			b.Run(tc.name+"/"+file, func(b *testing.B) {
				dir := filepath.Join(b.TempDir(), "course")
				require.NoError(b, tc.course(dir))
				old := tc.old
				if file == "server.py" {
					old = "def generate(data):"
					writeLine(b, filepath.Join(dir, "questions", tc.dir, file), old)
					old = "edit number"
				}
				d := startDev(b, dir, strings.Fields(os.Getenv("DEV_FLAGS"))...)
				c := openChromium(b, d)
				c.open("/question/" + tc.page)
				time.Sleep(2 * time.Second) // an author looks before typing
				took := c.edits("questions/"+tc.dir+"/"+file, old, max(b.N, 25))
				slices.Sort(took)
				b.ReportMetric(0, "ns/op")
				for _, q := range []int{10, 50, 90} {
					b.ReportMetric(float64(took[(len(took)-1)*q/100].Microseconds())/1000, fmt.Sprintf("ms-p%d", q))
				}
				if testing.Verbose() {
					b.Logf("%s", d.stderr)
				}
			})
		}
	}
}

// writeLine puts a comment that edits can change before a line of a program.
func writeLine(b *testing.B, file, before string) {
	text, err := os.ReadFile(file)
	require.NoError(b, err)
	require.Contains(b, string(text), before)
	text = []byte(strings.Replace(string(text), before, "# edit number\n"+before, 1))
	require.NoError(b, os.WriteFile(file, text, 0o644))
}
