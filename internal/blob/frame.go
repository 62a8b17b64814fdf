package blob

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A stored object is one zstd frame that declares its content size, and after it
// a skippable frame with the first 8 bytes of the frame's own BLAKE3. Content that
// does not shrink lies in the frame's raw blocks, so there is one form only, and
// `zstd -d` reads it. The trailer is there because a damaged frame may decode to
// the right bytes (a match may be copied from more than one place), and damage is
// to be noticed while the other copies are still good.

var trailerHead = []byte{0x5e, 0x2a, 0x4d, 0x18, 8, 0, 0, 0} // magic, length

const trailerSize = 16

var coders = sync.OnceValue(func() (c struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
},
) {
	var err error
	// The digest is the check, so the frame carries none. The window is what the
	// encoder keeps at hand: all of a blob of content, and of a manifest, whose
	// columns repeat nearby, little enough to stay in the processor's cache.
	if c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithWindowSize(1<<20)); err != nil {
		panic(err) // constant options
	}
	if c.dec, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxSize+1<<20), zstd.WithDecoderMaxWindow(MaxSize)); err != nil {
		panic(err)
	}
	return c
})

// Compress makes the object that a store keeps for b.
func Compress(b []byte) ([]byte, error) { return CompressInto(nil, b) }

// CompressInto is Compress into the room of dst, if there is enough of it: to grow
// with the object would cost more than to compress it.
func CompressInto(dst, b []byte) ([]byte, error) {
	if len(b) > MaxSize {
		return nil, ErrTooLarge
	}
	if room := len(b) + len(b)>>9 + 64; cap(dst) < room {
		dst = Buffer(room)
	}
	dst = coders().enc.EncodeAll(b, dst[:0])
	sum := Sum(dst)
	return append(append(dst, trailerHead...), sum[:8]...), nil
}

// Decompress reads what Compress wrote; anything else is a CorruptError for d.
// It allocates at most MaxSize, whatever the object claims.
func Decompress(d Digest, object []byte) ([]byte, error) {
	n := len(object) - trailerSize
	if n < 0 || !bytes.Equal(object[n:n+8], trailerHead) {
		return nil, &CorruptError{d, "its trailer is missing"}
	}
	if sum := Sum(object[:n]); !bytes.Equal(object[n+8:], sum[:8]) {
		return nil, &CorruptError{d, "its trailer does not match"}
	}
	object = object[:n]
	var h zstd.Header
	if err := h.Decode(object); err != nil {
		return nil, &CorruptError{d, err.Error()}
	}
	// Descriptor: single segment, no checksum, no dictionary, reserved bits zero.
	if h.Skippable || object[4]&0x3f != 0x20 || !h.HasFCS || h.FrameContentSize > MaxSize {
		return nil, &CorruptError{d, "not one zstd frame of a declared, acceptable size"}
	}
	// A block of at most 128 KiB costs at least 3 bytes, so a tiny object cannot
	// make us allocate for a huge claim.
	if blocks := uint64(len(object)) / 3; h.FrameContentSize>>17 > blocks {
		return nil, &CorruptError{d, "declared size does not fit the object"}
	}
	b, err := coders().dec.DecodeAll(object, Buffer(int(h.FrameContentSize))[:0])
	if err != nil {
		return nil, &CorruptError{d, err.Error()}
	}
	if uint64(len(b)) != h.FrameContentSize {
		return nil, &CorruptError{d, fmt.Sprintf("%d bytes where %d were declared", len(b), h.FrameContentSize)}
	}
	return b, nil
}
