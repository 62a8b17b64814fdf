package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/jobs"
)

// spool is one run on disk: a directory with
//
//	run     its meta, there before anything else counts
//	frames  one jobs.RunFrame a line; a last line without its end is no frame
//	end     its ending, once it is completed
type spool struct {
	meta
	dir string

	mu    sync.Mutex // guards below
	file  *os.File   // frames, while it may be written
	size  int64      // of whole frames
	count int
	end   *ending
	more  chan struct{} // closed and replaced when there is more to read

	// A reader mostly goes on where one has stopped: frame seen begins at place.
	seen  int
	place int64
}

type meta struct {
	Owner string    `json:"owner"`
	Begun time.Time `json:"begun"`
}

// ending is what became of a run.
type ending struct {
	Ended   time.Time    `json:"ended"`
	Frames  int          `json:"frames"`
	Status  int          `json:"status"`
	Outcome jobs.Outcome `json:"outcome"`
	Message string       `json:"message,omitempty"`
	Dropped bool         `json:"dropped,omitempty"`
}

func newSpool(dir, owner string) (*spool, error) {
	s := &spool{meta: meta{owner, time.Now()}, dir: dir, more: make(chan struct{})}
	b, err := json.Marshal(s.meta)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(filepath.Join(dir, "run"), b, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if s.file, err = os.OpenFile(s.frames(), os.O_CREATE|os.O_RDWR|os.O_EXCL|os.O_APPEND, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, durable.Sync(filepath.Dir(dir))
}

// readSpool reads what another process left, and completes what was cut off.
func readSpool(dir string) (*spool, error) {
	s := &spool{dir: dir, more: make(chan struct{})}
	b, err := os.ReadFile(filepath.Join(dir, "run"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &s.meta); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if s.file, err = os.OpenFile(s.frames(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	switch b, err = os.ReadFile(filepath.Join(dir, "end")); {
	case err == nil:
		defer s.file.Close()
		s.end = &ending{}
		st, err := s.file.Stat()
		if err == nil {
			err = json.Unmarshal(b, s.end)
		}
		if err != nil {
			return nil, fmt.Errorf("read the end of a run: %w", err)
		}
		s.file, s.size, s.count = nil, st.Size(), s.end.Frames
		return s, nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, errors.Join(err, s.file.Close())
	}
	b, err = os.ReadFile(s.frames())
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	if err = errors.Join(err, s.file.Truncate(int64(len(whole)))); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.size, s.count = int64(len(whole)), bytes.Count(whole, []byte{'\n'})
	return s, errors.Join(
		s.append(textFrame(jobs.FrameInternal, "", "the worker stopped before the program had ended; start it again")),
		s.finish(ending{Status: -1, Outcome: jobs.Killed, Message: "the worker stopped before the program had ended"}))
}

func (s *spool) frames() string { return filepath.Join(s.dir, "frames") }

// append writes one frame. A frame of which only a part could be written is taken back.
func (s *spool) append(f jobs.RunFrame) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.Write(line); err != nil {
		return errors.Join(fmt.Errorf("write frame: %w", err), s.file.Truncate(s.size))
	}
	s.size += int64(len(line))
	s.count++
	s.wakeLocked()
	return nil
}

// finish completes the run; there are no frames behind it.
func (s *spool) finish(e ending) error {
	s.mu.Lock()
	e.Ended, e.Frames = time.Now(), s.count
	file := s.file
	s.mu.Unlock()
	b, err := json.Marshal(e)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(s.dir, "end"), b, 0o600)
	}
	// Also where the disk fails, who waits for the end has to see one.
	s.mu.Lock()
	s.end, s.file = &e, nil
	s.wakeLocked()
	s.mu.Unlock()
	return errors.Join(err, file.Close())
}

func (s *spool) wakeLocked() {
	close(s.more)
	s.more = make(chan struct{})
}

func (s *spool) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *spool) endedBefore(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end != nil && s.end.Ended.Before(t)
}

// await returns when there is a frame from number from on, when the run is
// completed, when wait is over, or with ctx.
func (s *spool) await(ctx context.Context, from int, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		s.mu.Lock()
		ready, more := s.end != nil || s.count > from, s.more
		s.mu.Unlock()
		if ready {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// read returns the frames from number from on.
func (s *spool) read(from int) (*jobs.RunChunk, error) {
	s.mu.Lock()
	count, size, end, at, place := s.count, s.size, s.end, s.seen, s.place
	s.mu.Unlock()
	c := &jobs.RunChunk{Frames: []jobs.RunFrame{}}
	if end != nil {
		c.Completed, c.Status, c.Outcome, c.Message, c.Dropped = true, end.Status, end.Outcome, end.Message, end.Dropped
	}
	if from >= count {
		return c, nil
	}
	if from < at {
		at, place = 0, 0
	}
	f, err := os.Open(s.frames())
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	defer f.Close()
	b := make([]byte, size-place)
	if _, err := f.ReadAt(b, place); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if c.Frames, err = decode(b, from-at); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	s.mu.Lock()
	if count > s.seen {
		s.seen, s.place = count, size
	}
	s.mu.Unlock()
	return c, nil
}

// decode reads whole frames, all but the first skip.
func decode(b []byte, skip int) ([]jobs.RunFrame, error) {
	frames := []jobs.RunFrame{}
	for n := 0; len(b) > 0; n++ {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			return nil, errors.New("the last frame has no end")
		}
		if b = rest; n < skip {
			continue
		}
		var f jobs.RunFrame
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, fmt.Errorf("frame %d: %w", n, err)
		}
		frames = append(frames, f)
	}
	return frames, nil
}
