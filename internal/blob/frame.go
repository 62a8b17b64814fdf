package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// A stored object is a zstd frame for each part of the content, one where that is
// empty, and a skippable frame with the first 8 bytes of the BLAKE3 of all before
// it. Content that does not shrink lies in a frame's raw blocks, so there is one
// form only, and `zstd -d` reads it. The trailer is there because a damaged frame
// may decode to the right bytes (a match may be copied from more than one place),
// and damage is to be noticed while the other copies are still good. The parts are
// there so that several processors write and read a manifest.

// part is how much content a frame holds, and the last of several at most.
const part = 1 << 20

var trailerHead = []byte{0x5e, 0x2a, 0x4d, 0x18, 8, 0, 0, 0} // magic, length

const trailerSize = 16

var coders = sync.OnceValue(func() (c struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
},
) {
	var err error
	// The digest is the check, so the frame carries none.
	if c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithWindowSize(part)); err != nil {
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
	if room := roomFor(len(b)); cap(dst) < room+trailerSize {
		dst = Buffer(room + trailerSize)
	}
	if len(b) <= part {
		dst = coders().enc.EncodeAll(b, dst[:0])
		sum := Sum(dst)
		return append(append(dst, trailerHead...), sum[:8]...), nil
	}
	w := into{dst[:0]}
	err := compressParts(&w, dst[:cap(dst)], b)
	return w.b, err
}

// CompressTo writes the object of b to w, each part as soon as it is made.
func CompressTo(w io.Writer, b []byte) error {
	if len(b) > MaxSize {
		return ErrTooLarge
	}
	return compressParts(w, Buffer(roomFor(len(b))), b)
}

type into struct{ b []byte }

func (w *into) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// roomFor is more than the object of n bytes takes.
func roomFor(n int) int { return n + n>>9 + 64 + 64*(n/part) }

// compressParts compresses several parts at once, each at a place of its own in
// room, and writes the frames while those behind them are made. w may fill room
// from its begin.
func compressParts(w io.Writer, room, b []byte) (err error) {
	n := (len(b) + part - 1) / part
	frames := make([]chan []byte, n)
	for i := range frames {
		frames[i] = make(chan []byte, 1)
	}
	go each(n, func(i int) {
		at := roomFor(i * part)
		frames[i] <- coders().enc.EncodeAll(b[i*part:min((i+1)*part, len(b))], room[at:at:min(roomFor((i+1)*part), len(room))])
	})
	sum := blake3.New()
	for _, f := range frames {
		frame := <-f
		sum.Write(frame)
		if err == nil {
			_, err = w.Write(frame)
		}
	}
	if err == nil {
		_, err = w.Write(append(slices.Clone(trailerHead), sum.Sum(nil)[:8]...))
	}
	return err
}

// each calls fn for 0 to n-1, several at once but begun in this order, and waits.
func each(n int, fn func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	wg.Wait()
}

// Decompress reads what Compress wrote; anything else is a CorruptError for d.
// It allocates at most MaxSize, whatever the object claims.
func Decompress(d Digest, object []byte) ([]byte, error) {
	n := len(object) - trailerSize
	if n < 0 || !bytes.Equal(object[n:n+8], trailerHead) {
		return nil, &CorruptError{d, "its trailer is missing"}
	}
	object, trailer := object[:n], object[n+8:]
	frames, size, err := cut(object)
	if err != nil {
		return nil, &CorruptError{d, err.Error()}
	}
	content := Buffer(size)
	var sum Digest
	errs := make([]error, len(frames))
	decode := func(i int) {
		f := frames[i]
		got, err := coders().dec.DecodeAll(f.bytes, content[f.at:f.at:f.at+f.size])
		if err == nil && len(got) != f.size {
			err = fmt.Errorf("%d bytes where %d were declared", len(got), f.size)
		}
		errs[i] = err
	}
	if len(frames) == 1 {
		if sum = Sum(object); bytes.Equal(trailer, sum[:8]) {
			decode(0)
		}
	} else {
		each(1+len(frames), func(i int) {
			if i == 0 {
				sum = Sum(object)
			} else {
				decode(i - 1)
			}
		})
	}
	if !bytes.Equal(trailer, sum[:8]) {
		return nil, &CorruptError{d, "its trailer does not match"}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &CorruptError{d, err.Error()}
	}
	return content, nil
}

// frame is one of an object, and where its content lies.
type frame struct {
	bytes    []byte
	at, size int
}

// cut finds an object's frames by the headers of their blocks. One frame may hold
// any content, as it did before there were parts; of several each holds one part.
func cut(object []byte) (frames []frame, size int, err error) {
	for len(object) > 0 || len(frames) == 0 {
		var h zstd.Header
		if err := h.Decode(object); err != nil {
			return nil, 0, err
		}
		// Descriptor: single segment, no checksum, no dictionary, reserved bits zero.
		if h.Skippable || object[4]&0x3f != 0x20 || !h.HasFCS || h.FrameContentSize > MaxSize-uint64(size) {
			return nil, 0, errors.New("not zstd frames of a declared, acceptable size")
		}
		end, blocks := h.HeaderSize, uint64(0)
		for last := false; !last; blocks++ {
			if len(object)-end < 3 {
				return nil, 0, errors.New("a frame is cut off")
			}
			head := int(object[end]) | int(object[end+1])<<8 | int(object[end+2])<<16
			last = head&1 != 0
			if head>>1&3 == 1 { // one byte, repeated
				head = 1 << 3
			}
			end += 3 + head>>3
		}
		// A block holds at most 128 KiB, so a tiny object cannot make us allocate
		// for a huge claim.
		if end > len(object) || h.FrameContentSize>>17 > blocks {
			return nil, 0, errors.New("the declared size does not fit the object")
		}
		frames = append(frames, frame{object[:end], size, int(h.FrameContentSize)})
		size += int(h.FrameContentSize)
		object = object[end:]
		if k := len(frames); k > 1 && (frames[k-2].size != part || frames[k-1].size == 0 || frames[k-1].size > part) {
			return nil, 0, errors.New("a frame that is not a part")
		}
	}
	return frames, size, nil
}
