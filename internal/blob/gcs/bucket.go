// Package gcs keeps blobs as objects of a Google Cloud Storage bucket, under
// <prefix>blobs/<2 hex>/<64 hex>, each as Compress makes it.
//
// Objects are created with a does-not-exist precondition and deleted with the
// generation that was found old enough, so that two writers, or a push and gc,
// never undo each other. Transient failures are retried here,
// with backoff, until Timeout; a bucket that is not there is an error and never
// "not found".
package gcs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

// Timeout bounds one operation on one object, its retries included.
const Timeout = time.Minute

// resumable is from which size an upload goes in several requests, each of which
// is retried alone.
const resumable = 8 << 20

// Bucket is a prefix of a bucket, with the few operations that stores need.
// Safe for concurrent use.
type Bucket struct {
	client *storage.Client
	bucket *storage.BucketHandle
	name   string
	prefix string
	there  atomic.Bool // the bucket was seen to exist
}

// ErrExists says that a create found the object there.
var ErrExists = errors.New("object exists")

// ErrChanged says that an object is not the one that was expected.
var ErrChanged = errors.New("object changed")

// ErrNoObject says that there is no such object in a bucket that exists.
var ErrNoObject = errors.New("no such object")

// New uses bucket below prefix, which is empty or ends in a slash.
func New(client *storage.Client, bucket, prefix string) *Bucket {
	h := client.Bucket(bucket).Retryer(
		storage.WithPolicy(storage.RetryAlways), // every request here may be repeated
		storage.WithBackoff(gax.Backoff{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}),
	)
	return &Bucket{client: client, bucket: h, name: bucket, prefix: prefix}
}

// Dial connects with the machine's default credentials, or to an emulator that
// STORAGE_EMULATOR_HOST names.
func Dial(ctx context.Context, bucket, prefix string) (*Bucket, error) {
	client, err := storage.NewClient(ctx, storage.WithJSONReads())
	if err != nil {
		return nil, err
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return New(client, bucket, prefix), nil
}

// Close closes the connection.
func (b *Bucket) Close() error { return b.client.Close() }

func (b *Bucket) object(name string) *storage.ObjectHandle { return b.bucket.Object(b.prefix + name) }

// Read returns an object's bytes and its generation.
func (b *Bucket) Read(ctx context.Context, name string, limit int64) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	r, err := b.object(name).NewReader(ctx)
	if err != nil {
		return nil, 0, b.error(ctx, name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, r.Attrs.Generation, b.error(ctx, name, err)
}

// Create makes an object; ErrExists if it is there.
func (b *Bucket) Create(ctx context.Context, name string, data []byte) error {
	return b.write(ctx, name, data, storage.Conditions{DoesNotExist: true}, ErrExists)
}

// Replace writes an object whose generation is gen; ErrChanged if it is another.
func (b *Bucket) Replace(ctx context.Context, name string, data []byte, gen int64) error {
	return b.write(ctx, name, data, storage.Conditions{GenerationMatch: gen}, ErrChanged)
}

func (b *Bucket) write(ctx context.Context, name string, data []byte, cond storage.Conditions, unmet error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel() // an upload that was not closed is dropped by this
	w := b.object(name).If(cond).NewWriter(ctx)
	w.ContentType = "application/octet-stream"
	nonce := rand.Text()
	w.Metadata = map[string]string{"writer": nonce}
	w.CacheControl = "no-store"
	w.CRC32C, w.SendCRC32C = crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), true
	// The chunk is the buffer from which a failed request is sent again.
	const quantum = 256 << 10
	w.ChunkSize = min(resumable, (len(data)/quantum+1)*quantum)
	_, err := w.Write(data)
	if err == nil {
		err = w.Close()
	} else {
		cancel()
	}
	if status(err) == http.StatusPreconditionFailed {
		// The answer to a request that succeeded may have been lost, and its
		// repetition have met our own object.
		if a, e := b.object(name).Attrs(ctx); e == nil && a.Metadata["writer"] == nonce {
			return nil
		}
		return fmt.Errorf("%s: %w", name, unmet)
	}
	return b.error(ctx, name, err)
}

// Delete removes the object whose generation is gen; ErrChanged if it is another.
func (b *Bucket) Delete(ctx context.Context, name string, gen int64) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := b.object(name).Generation(gen).If(storage.Conditions{GenerationMatch: gen}).Delete(ctx)
	if status(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("%s: %w", name, ErrChanged)
	}
	return b.error(ctx, name, err)
}

// Attrs is what is known of an object without reading it.
type Attrs struct {
	Name       string // below the bucket's prefix
	Size       int64
	Updated    time.Time // when it was written or touched
	Generation int64
}

func (b *Bucket) attrs(a *storage.ObjectAttrs) Attrs {
	return Attrs{strings.TrimPrefix(a.Name, b.prefix), a.Size, a.Updated, a.Generation}
}

// Stat describes an object.
func (b *Bucket) Stat(ctx context.Context, name string) (Attrs, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	a, err := b.object(name).Attrs(ctx)
	if err != nil {
		return Attrs{}, b.error(ctx, name, err)
	}
	return b.attrs(a), nil
}

// Touch renews an object's generation and time by copying it onto itself;
// ErrNoObject if it is gone.
func (b *Bucket) Touch(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	_, err := b.object(name).CopierFrom(b.object(name)).Run(ctx)
	return b.error(ctx, name, err)
}

// List passes the objects below prefix, or with a delimiter only the names of
// the folders there, each with its final slash.
func (b *Bucket) List(ctx context.Context, prefix, delimiter string, fn func(Attrs) error) error {
	q := &storage.Query{Prefix: b.prefix + prefix, Delimiter: delimiter}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Updated", "Generation"}); err != nil {
		return err
	}
	it := b.bucket.Objects(ctx, q)
	for {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			b.there.Store(true)
			return nil
		}
		if err != nil {
			return b.error(ctx, prefix, err)
		}
		b.there.Store(true)
		if a.Prefix != "" {
			err = fn(Attrs{Name: strings.TrimPrefix(a.Prefix, b.prefix)})
		} else {
			err = fn(b.attrs(a))
		}
		if err != nil {
			return err
		}
	}
}

// error names the object, and tells a missing object from a missing bucket.
func (b *Bucket) error(ctx context.Context, name string, err error) error {
	switch {
	case err == nil:
		b.there.Store(true)
		return nil
	case errors.Is(err, storage.ErrBucketNotExist):
		return fmt.Errorf("bucket %s: %w", b.name, err)
	case errors.Is(err, storage.ErrObjectNotExist), status(err) == http.StatusNotFound:
		if !b.there.Load() {
			_, err := b.bucket.Objects(ctx, &storage.Query{Prefix: b.prefix}).Next()
			if err != nil && !errors.Is(err, iterator.Done) {
				return fmt.Errorf("bucket %s: %w", b.name, err)
			}
			b.there.Store(true)
		}
		return fmt.Errorf("%s: %w", name, ErrNoObject)
	}
	return fmt.Errorf("gs://%s/%s%s: %w", b.name, b.prefix, name, err)
}

func status(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}
