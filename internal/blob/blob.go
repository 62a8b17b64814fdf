// Package blob is the vocabulary of stored content: immutable bytes that are
// named by their digest, and the roles a store of them plays.
//
// It guarantees that a name is a Digest and nothing else, that "not there" is
// ErrNotFound and never an empty blob, and that bytes which do not match their
// name are a CorruptError. It refuses blobs above MaxSize. How a blob lies on a
// disk or in a bucket is the business of the packages below.
package blob

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// MaxSize bounds one blob, uncompressed. Content never exceeds 1 MiB a blob;
// the room above it is for manifests.
const MaxSize = 128 << 20

// ErrNotFound says that the store answered and holds no such blob. A store that
// could not be asked returns another error.
var ErrNotFound = errors.New("blob not found")

// CorruptError says that the store holds bytes which are not those of the digest.
type CorruptError struct {
	Digest Digest
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("blob %s is corrupt: %s", e.Digest, e.Reason)
}

// Fetcher reads blobs. Safe for concurrent use.
type Fetcher interface {
	// Fetch returns the uncompressed bytes of d, which the caller then owns.
	// ErrNotFound when the store holds no such blob; *CorruptError when what it
	// holds cannot be decoded (only Verified promises that the bytes match).
	Fetch(ctx context.Context, d Digest) ([]byte, error)
}

// Putter adds blobs. Safe for concurrent use, also by several processes.
type Putter interface {
	// Put stores b under d = Sum(b) unless it is there; putting it twice is no
	// error. A reader sees all of the blob or none of it. It is durable once a
	// later Sync returned. Put keeps no reference to b. ErrTooLarge above MaxSize.
	Put(ctx context.Context, d Digest, b []byte) error
}

// ErrTooLarge says that a blob exceeds MaxSize.
var ErrTooLarge = fmt.Errorf("blob exceeds %d bytes", MaxSize)

// Prober asks for existence in batches. Safe for concurrent use.
type Prober interface {
	// Probe answers for each digest whether the blob is there and whole, and
	// renews the age of those that are, so that Delete with an earlier cutoff
	// leaves them alone. The answer has the length of ds.
	Probe(ctx context.Context, ds []Digest) ([]bool, error)
}

// Info describes one stored object.
type Info struct {
	Digest Digest
	Stored int64     // bytes in the store, compressed
	Time   time.Time // when it was last put or probed
}

// Store is what a push, gc and verify need. Safe for concurrent use.
type Store interface {
	Fetcher
	Putter
	Prober

	// List calls fn for every blob in no order, until fn fails. Objects whose
	// names are not digests are no blobs and are passed over.
	List(ctx context.Context, fn func(Info) error) error

	// Delete removes d if it was last put or probed before the cutoff, and
	// reports whether it did. Deleting what is not there is no error. Delete and
	// Probe exclude each other: a blob that Probe found is not deleted.
	Delete(ctx context.Context, d Digest, before time.Time) (bool, error)

	// Sync returns when every Put that returned before it, and every blob that a
	// Probe found before it, is durable.
	Sync(ctx context.Context) error

	// Sweep removes what writers that were killed before the cutoff left half done.
	Sweep(ctx context.Context, before time.Time) error
}
