package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// shared is what takes seconds to start and what no test takes away from the next:
// a Chromium, in which each test has a tab and a storage of its own, and a dev of the
// sample course, in which each has questions or at least seeds of its own.
var shared struct {
	chromium context.Context // nil before its first use
	quit     []context.CancelFunc
	dev      *dev
	dir      string
}

// endShared ends both, when all tests have run.
func endShared() error {
	for _, quit := range slices.Backward(shared.quit) {
		quit()
	}
	if shared.dev == nil {
		return nil
	}
	err := shared.dev.cmd.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, <-shared.dev.ended, os.RemoveAll(shared.dir))
}

// theSample is the shared dev of the sample course. What a test writes there, it
// writes below questions/own.
func theSample(t *testing.T) *dev {
	t.Helper()
	if shared.dev == nil {
		needPython(t)
		dir, err := os.MkdirTemp("", "prairie-shared-")
		require.NoError(t, err)
		d := &dev{t: t, dir: filepath.Join(dir, "sample"), cache: filepath.Join(dir, "cache"), binary: binary, stderr: &locked{}}
		require.NoError(t, course.WriteSample(d.dir))
		d.start()
		shared.dev, shared.dir = d, dir
	}
	d := *shared.dev
	d.t = t
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dev said:\n%s", d.stderr)
		}
	})
	return &d
}

// theChromium is the shared browser.
func theChromium(t testing.TB) context.Context {
	t.Helper()
	if shared.chromium != nil {
		return shared.chromium
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		need(t, "chromium (Debian: chromium, chromium-driver)")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	ctx, quit := chromedp.NewExecAllocator(context.Background(), opts...)
	shared.quit = append(shared.quit, quit)
	ctx, quit = chromedp.NewContext(ctx)
	shared.quit = append(shared.quit, quit)
	_, err = chromedp.Run(ctx, chromedp.Steps())
	require.NoError(t, err)
	shared.chromium = ctx
	return ctx
}
