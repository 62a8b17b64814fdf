// Package syncer puts versions of courses into a store and looks after them
// there: push, pull, verify, gc, and the moves of a head.
//
// It guarantees that a push costs what changed, not what there is; that nothing
// becomes reachable before all that it reaches is durable (blobs, manifest,
// version record, head, in this order), so that a push killed at any moment
// leaves the old head whole and is finished by running it again; and that two
// pushes to one course never lose one silently: the later one gets
// head.ErrConflict.
//
// It refuses, with nothing changed, what a mount could not serve faithfully:
// submodules, symlinks that leave the course, names with a newline, devices and
// sockets, and files that change while they are read.
package syncer

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
)

// Config says where versions go. Blobs and Heads are required.
type Config struct {
	Blobs blob.Store
	Heads head.Store

	Log      zerolog.Logger     // the zero logger is silent
	Sign     ed25519.PrivateKey // signs every head that this Syncer moves; nil for unsigned heads
	Uploads  int                // blobs hashed and stored at once; 0 means 8
	Progress func(Progress)     // called often and from several goroutines; nil for none
}

// Progress is how far a push is.
type Progress struct {
	Files, FilesRead int   // of the tree; read because they may have changed
	Bytes            int64 // read
	Uploaded         int   // blobs
}

// Syncer is safe for concurrent use.
type Syncer struct {
	cfg Config
}

// New makes a Syncer.
func New(cfg Config) *Syncer {
	if cfg.Uploads <= 0 {
		cfg.Uploads = 8
	}
	return &Syncer{cfg: cfg}
}

// Report is what a push did. Its JSON is the output of `syncer push --json`.
type Report struct {
	Course        string      `json:"course"`
	Version       string      `json:"version"`
	Manifest      blob.Digest `json:"manifest"`
	Chunks        int         `json:"chunks"`
	ChunksChanged int         `json:"chunks_changed"`
	BlobsUploaded int         `json:"blobs_uploaded"` // content only: the manifest and records are not counted
	BytesUploaded int64       `json:"bytes_uploaded"` // of those, before compression
	Files         int         `json:"files"`
	Seconds       float64     `json:"seconds"`
}

// RefusedError says why a tree cannot be pushed. Nothing was changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// ErrBadSignature says that a head is not signed by the expected key.
var ErrBadSignature = errors.New("the head is not signed by the expected key")

// maxPush bounds a push, so that gc's grace period (of more than this) covers
// every blob that a running push relies on.
const maxPush = 12 * time.Hour
