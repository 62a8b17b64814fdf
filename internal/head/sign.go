package head

import (
	"crypto/ed25519"
	"fmt"
	"time"
)

// Sign returns h with the signature of key over everything else in it.
func (h Head) Sign(key ed25519.PrivateKey) Head {
	h.Time = h.Time.UTC().Truncate(time.Millisecond)
	h.Signature = ed25519.Sign(key, h.signed())
	return h
}

// SignedBy says whether one of keys signed h as it is. A reader that was given
// keys refuses a head for which this is false, and also one whose sequence is
// lower than one it has seen: a rollback raises the sequence like every move.
func (h Head) SignedBy(keys ...ed25519.PublicKey) bool {
	for _, key := range keys {
		if len(h.Signature) == ed25519.SignatureSize && ed25519.Verify(key, h.signed(), h.Signature) {
			return true
		}
	}
	return false
}

// signed is the text that a signature covers.
func (h Head) signed() []byte {
	return fmt.Appendf(nil, "prairie head 1\n%s\n%s\n%s\n%d\n%s\n",
		h.Course, h.Version, h.Manifest, h.Sequence, h.Time.UTC().Format(time.RFC3339Nano))
}
