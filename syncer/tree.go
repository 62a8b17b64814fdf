package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Put stores a blob, which it then owns; many may be on their way at once.
type Put func(d blob.Digest, content []byte) error

// PushTree makes the tree that write describes a version of course and moves the
// head to it, with the guarantees of Push. write stores every blob of the spec
// with put before it returns. The version is the manifest's digest.
func (s *Syncer) PushTree(ctx context.Context, course string, write func(ctx context.Context, put Put) (*manifest.Spec, error)) (r Report, err error) {
	start := time.Now()
	r.Course = course
	defer func() { r.Seconds = time.Since(start).Seconds() }()
	if err := head.CheckCourse(course); err != nil {
		return r, &RefusedError{err.Error()}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxPush, fmt.Errorf("the push took more than %v", maxPush))
	defer cancel()
	cur := s.current(ctx, course)
	if cur.err != nil {
		return r, fmt.Errorf("read the head of %s: %w", course, cur.err)
	}
	puts := newUploader(ctx, s.cfg.Blobs, s.cfg.Uploads)
	spec, err := write(puts.ctx, puts.put)
	if e := puts.wait(); e != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = e // the cause, not that the rest was cancelled
	}
	if err != nil {
		return r, err
	}
	b, err := spec.Draft()
	var bad *manifest.FormatError
	if errors.As(err, &bad) {
		return r, &RefusedError{bad.Reason}
	}
	if err != nil {
		return r, err
	}
	digest := blob.Sum(b)
	rec := head.Version{Course: course, Version: digest.String(), Manifest: digest, Time: time.Now(), Chunks: len(spec.Chunks)}
	for i := range spec.Entries {
		if e := &spec.Entries[i]; e.Type == manifest.File {
			rec.Files++
			rec.Bytes += e.Size
		}
	}
	r.BlobsUploaded, r.BytesUploaded = int(puts.count.Load()), puts.bytes.Load()
	if rec.Version != cur.head.Version {
		r.ChunksChanged = rec.Chunks
		if rec, err = s.record(ctx, b, digest, rec, nil, nil); errors.As(err, &bad) {
			return r, &RefusedError{bad.Reason}
		}
		if err != nil {
			return r, err
		}
	}
	return s.moved(ctx, r, cur, rec)
}
