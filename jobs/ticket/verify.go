package ticket

import (
	"crypto/ed25519"
	"sync"
	"time"
)

// maxNonces bounds a Verifier's memory: 2^20 nonces are about 60 MB.
const maxNonces = 1 << 20

// Verifier checks tickets. It is safe for concurrent use. One process needs
// exactly one: replays are only noticed by the Verifier that saw the first use.
type Verifier struct {
	keys []ed25519.PublicKey
	now  func() time.Time

	mu    sync.Mutex // guards seen and sweep
	seen  map[[nonceSize]byte]time.Time
	sweep time.Time
}

// NewVerifier accepts tickets that any of keys signed.
func NewVerifier(keys ...ed25519.PublicKey) *Verifier {
	return &Verifier{keys: keys, now: time.Now, seen: map[[nonceSize]byte]time.Time{}}
}

// Verify checks the value of an Authorization header against the course and
// version that the request names, and uses the ticket up. Signatures are
// checked before anything is remembered, so strangers cannot fill the memory.
func (v *Verifier) Verify(header, course, version string) (Claims, error) {
	c, signed, sig, err := decode(header)
	if err != nil {
		return Claims{}, err
	}
	known := false
	for _, k := range v.keys {
		known = known || ed25519.Verify(k, signed, sig)
	}
	if !known {
		return Claims{}, ErrSignature
	}
	now := v.now()
	if now.After(c.Deadline.Add(Skew)) || c.Deadline.After(now.Add(MaxLife+Skew)) {
		return Claims{}, ErrExpired
	}
	if c.Course != course || c.Version != version {
		return Claims{}, ErrForeign
	}
	if !v.use(c, now) {
		return Claims{}, ErrReplayed
	}
	return c, nil
}

func (v *Verifier) use(c Claims, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.After(v.sweep) || len(v.seen) >= maxNonces {
		for n, dead := range v.seen {
			if now.After(dead) {
				delete(v.seen, n)
			}
		}
		v.sweep = now.Add(10 * time.Second)
	}
	if _, twice := v.seen[c.Nonce]; twice || len(v.seen) >= maxNonces {
		return false
	}
	v.seen[c.Nonce] = c.Deadline.Add(Skew)
	return true
}
