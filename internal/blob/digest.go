package blob

import (
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Digest is the BLAKE3-256 of a blob's uncompressed canonical bytes.
type Digest [32]byte

// Sum is the digest of b.
func Sum(b []byte) Digest { return blake3.Sum256(b) }

// ParseDigest reads exactly 64 lower-case hex digits and nothing else.
func ParseDigest(s string) (d Digest, err error) {
	if len(s) != 2*len(d) {
		return Digest{}, fmt.Errorf("digest %q: want 64 lower-case hex digits", clip(s))
	}
	for i := range d {
		hi, ok1 := nibble(s[2*i])
		lo, ok2 := nibble(s[2*i+1])
		if !ok1 || !ok2 {
			return Digest{}, fmt.Errorf("digest %q: want 64 lower-case hex digits", clip(s))
		}
		d[i] = hi<<4 | lo
	}
	return d, nil
}

// String is the 64 lower-case hex digits that ParseDigest reads.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero says that d was never set; no content is known to have this digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the hex digits, so that JSON holds a string.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what ParseDigest accepts.
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDigest(string(b))
	return err
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

func clip(s string) string { return s[:min(len(s), 80)] }
