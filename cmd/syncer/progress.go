package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/syncer"
)

// progress shows a push: a bar on a terminal, elsewhere a line a second. Its
// zero value shows nothing.
type progress struct {
	*progressState
}

type progressState struct {
	w    io.Writer
	mu   sync.Mutex // guards what follows
	bar  *progressbar.ProgressBar
	last time.Time
}

func newProgress(w io.Writer) progress {
	p := &progressState{w: w, last: time.Now()}
	if cli.IsTerminal(w) {
		p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return progress{p}
}

func (p progress) show(s syncer.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%d files read, %d blobs stored", s.FilesRead, s.Uploaded))
		p.bar.Set64(s.Bytes)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= time.Second {
		p.last = now
		fmt.Fprintf(p.w, "%d files read (%s), %d blobs stored\n", s.FilesRead, bytes(s.Bytes), s.Uploaded)
	}
}

func (p progress) end() {
	if p.progressState != nil && p.bar != nil {
		p.bar.Finish()
	}
}
