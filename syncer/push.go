package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Push makes src a version of course and moves the head to it. On an error the
// head is what it was, or what somebody else made of it: head.ErrConflict. A
// *RefusedError is about the tree; what else fails, the source or the store did.
func (s *Syncer) Push(ctx context.Context, course string, src Source) (Report, error) {
	return s.push(ctx, course, src, false)
}

// Repush is Push without trust in what the store is said to hold: it reads and
// hashes the whole tree and stores again whatever the store has lost or damaged.
func (s *Syncer) Repush(ctx context.Context, course string, src Source) (Report, error) {
	return s.push(ctx, course, src, true)
}

func (s *Syncer) push(ctx context.Context, course string, src Source, full bool) (r Report, err error) {
	start := time.Now()
	r.Course = course
	defer func() { r.Seconds = time.Since(start).Seconds() }()
	if err := head.CheckCourse(course); err != nil {
		return r, &RefusedError{err.Error()}
	}
	if _, is := head.EnvName(course); is {
		return r, &RefusedError{fmt.Sprintf("course id %q: names that begin so are those of environments", course)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxPush, fmt.Errorf("the push took more than %v", maxPush))
	defer cancel()

	was := make(chan current, 1)
	go func() { was <- s.current(ctx, course) }()
	t, err := src.open(ctx)
	cur := <-was
	if err != nil {
		return r, err
	}
	closed := sync.OnceValue(t.close)
	defer closed()
	if cur.err != nil {
		return r, fmt.Errorf("read the head of %s: %w", course, cur.err)
	}
	if v := t.version(); v != "" && !full {
		rec, err := s.cfg.Heads.GetVersion(ctx, course, v)
		if err == nil {
			r, err = s.moved(ctx, r, cur, rec)
			return r, errors.Join(err, s.unhidden(ctx, cur, rec, err))
		}
		if !errors.Is(err, head.ErrNotFound) {
			return r, fmt.Errorf("read version %s: %w", v, err)
		}
	}
	rec, err := s.build(ctx, &r, t, closed, cur, full)
	if err != nil {
		return r, err
	}
	return s.moved(ctx, r, cur, rec)
}

// current is a course's head as a push or a rollback found it.
type current struct {
	head  head.Head // zero when there is none
	token head.Token
	err   error
}

func (s *Syncer) current(ctx context.Context, course string) (c current) {
	c.head, c.token, c.err = s.cfg.Heads.Get(ctx, course)
	if errors.Is(c.err, head.ErrNotFound) {
		c.err = nil
	}
	return c
}

// build stores everything of the version but its head. It closes the tree as
// soon as all of it is read.
func (s *Syncer) build(ctx context.Context, r *Report, t tree, closed func() error, cur current, full bool) (rec head.Version, err error) {
	var prev *manifest.Manifest
	if !full && cur.head.Version != "" {
		if prev, err = s.Manifest(ctx, cur.head.Manifest); err != nil {
			var corrupt *blob.CorruptError
			if !errors.Is(err, blob.ErrNotFound) && !errors.As(err, &corrupt) {
				return rec, err
			}
			s.cfg.Log.Warn().Err(err).Str("course", r.Course).Msg("the previous manifest is lost; pushing everything")
			prev = nil
		}
	}
	past := s.recall(ctx, r.Course, cur)
	defer past.end()
	root, err := expand(ctx, t, prev, cur.head.Manifest)
	if err != nil {
		return rec, err
	}
	p := sparse(root, prev, t.idLen())
	if p == nil {
		p = flatten(root, prev, t.idLen())
		if err := p.checkLinks(); err != nil {
			return rec, err
		}
	}
	puts := newUploader(ctx, s.cfg.Blobs, s.cfg.Uploads)
	f := newFiller(p, t, puts, s.stepper(len(p.spec.Entries), puts))
	err = f.fill(puts.ctx)
	if e := puts.wait(); e != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = e // the cause, not that the rest was cancelled
	}
	if err != nil {
		return rec, err
	}
	go closed() // while the manifest is made; push waits for it
	b, err := p.draft()
	var bad *manifest.FormatError
	if errors.As(err, &bad) {
		return rec, &RefusedError{bad.Reason}
	}
	if err != nil {
		return rec, err
	}
	digest := blob.Sum(b)
	rec = head.Version{Course: r.Course, Version: t.version(), Manifest: digest, Time: time.Now(), Git: t.facts()}
	if rec.Version == "" {
		rec.Version = digest.String()
	}
	rec.Chunks = p.chunks()
	rec.Files, rec.Bytes = p.total()
	r.ChunksChanged = p.changed()
	r.BlobsUploaded, r.BytesUploaded = int(puts.count.Load()), puts.bytes.Load()
	if rec.Version != cur.head.Version || full {
		rec, err = s.record(ctx, b, digest, rec, past, f.graders)
	}
	if errors.As(err, &bad) {
		return rec, &RefusedError{bad.Reason}
	}
	if err != nil {
		return rec, err
	}
	t.done(root, rec.Manifest)
	return rec, nil
}

// record makes the version reachable, after all that it reaches is durable. While
// the manifest is stored it is also proven and looked into; until then nothing
// refers to it.
func (s *Syncer) record(ctx context.Context, b []byte, digest blob.Digest, rec head.Version, past *past, met map[string]bool) (head.Version, error) {
	proof := make(chan error, 1)
	go func() {
		m, err := manifest.Decode(b)
		var graders []string
		if err == nil {
			graders, err = past.gradersOf(met)
		}
		if err == nil {
			rec.Environments, err = s.pins(ctx, m, graders)
		}
		if err == nil {
			rec = past.into(rec, m)
		}
		proof <- err
	}()
	err := s.cfg.Blobs.Put(ctx, digest, b)
	if bad := <-proof; bad != nil {
		return rec, bad
	}
	if err != nil {
		return rec, fmt.Errorf("store the manifest: %w", err)
	}
	got, err := s.cfg.Heads.PutVersion(ctx, rec, s.cfg.Blobs.Sync)
	if err != nil {
		return rec, fmt.Errorf("store version %s: %w", rec.Version, err)
	}
	return got, nil
}

// moved moves the head to rec, unless it is there already.
func (s *Syncer) moved(ctx context.Context, r Report, cur current, rec head.Version) (Report, error) {
	r.Version, r.Manifest, r.Chunks, r.Files = rec.Version, rec.Manifest, rec.Chunks, rec.Files
	if cur.head.Version == rec.Version && cur.head.Manifest == rec.Manifest {
		return r, nil
	}
	return r, s.swap(ctx, cur, rec)
}

// unhidden puts an old record back after a head moved to it, in case that gc hid
// it in between; gc looks for this, too.
func (s *Syncer) unhidden(ctx context.Context, cur current, rec head.Version, err error) error {
	if err != nil || cur.head.Version == rec.Version {
		return nil
	}
	_, err = s.cfg.Heads.PutVersion(ctx, rec, nil)
	return err
}

func (s *Syncer) swap(ctx context.Context, cur current, rec head.Version) error {
	h := head.Head{
		Course: rec.Course, Version: rec.Version, Manifest: rec.Manifest,
		Sequence: cur.head.Sequence + 1, Time: time.Now(),
	}
	if s.cfg.Sign != nil {
		h = h.Sign(s.cfg.Sign)
	}
	if err := s.cfg.Heads.Swap(ctx, rec.Course, cur.token, h); err != nil {
		return fmt.Errorf("move the head to %s: %w", rec.Version, err)
	}
	return nil
}

// Manifest fetches and decodes a manifest.
func (s *Syncer) Manifest(ctx context.Context, d blob.Digest) (*manifest.Manifest, error) {
	b, err := s.cfg.Blobs.Fetch(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("fetch manifest %s: %w", d, err)
	}
	m, err := manifest.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	return m, nil
}

// stepper reports progress after each file that was read.
func (s *Syncer) stepper(entries int, puts *uploader) func(int64) {
	if s.cfg.Progress == nil {
		return func(int64) {}
	}
	var files, bytes atomic.Int64
	return func(n int64) {
		s.cfg.Progress(Progress{
			Files: entries, FilesRead: int(files.Add(1)), Bytes: bytes.Add(n), Uploaded: int(puts.count.Load()),
		})
	}
}
