// Package ticket is the proof that a gateway lets a worker do one thing: an
// ed25519 signature over a course, a version, a deadline and a nonce.
//
// The gateway holds the private key and signs a ticket for every request; a
// worker holds the public one, or two while keys are being rotated.
//
// It guarantees that a verified ticket was signed by a known key for exactly
// this course and version, that its deadline has not passed, and that it is the
// first of its nonce that this Verifier saw. It refuses everything else,
// deadlines further away than MaxLife, and, once its memory of nonces is full,
// every ticket: it never forgets a nonce that could still be replayed. A ticket
// does not cover the body; the connection's own protection (TLS, or a network
// of one's own) does.
//
// Gateway and workers need clocks that agree within Skew.
package ticket

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Scheme is the word before the ticket in an Authorization header.
const Scheme = "Prairie-Ticket"

const (
	// MaxLife bounds how far away a deadline may be, and with it how long nonces are remembered.
	MaxLife = time.Hour
	// Skew is how far the clocks of gateway and worker may be apart.
	Skew = 2 * time.Second

	format    = 1
	nonceSize = 16
	maxName   = 255
)

// Reasons for which Verify refuses a ticket.
var (
	ErrMalformed = errors.New("ticket: malformed")
	ErrSignature = errors.New("ticket: not signed by a known key")
	ErrExpired   = errors.New("ticket: outside its deadline")
	ErrForeign   = errors.New("ticket: made for another course or version")
	ErrReplayed  = errors.New("ticket: used before")
)

// Claims are what a ticket is bound to. Requests that concern no course (program
// runs) have an empty Course and Version.
type Claims struct {
	Course   string
	Version  string // as in the request: a version, or "current"
	Deadline time.Time
	Nonce    [nonceSize]byte
}

// New returns claims with a fresh nonce.
func New(course, version string, deadline time.Time) Claims {
	c := Claims{Course: course, Version: version, Deadline: deadline}
	rand.Read(c.Nonce[:]) // never fails: crypto/rand ends the process instead
	return c
}

// Sign returns the value of the Authorization header that proves c.
func Sign(key ed25519.PrivateKey, c Claims) (string, error) {
	if len(c.Course) > maxName || len(c.Version) > maxName {
		return "", fmt.Errorf("%w: a name of more than %d bytes", ErrMalformed, maxName)
	}
	b := encode(c)
	b = append(b, ed25519.Sign(key, b)...)
	return Scheme + " " + base64.RawURLEncoding.EncodeToString(b), nil
}

// encode is: format, deadline in ms (8 bytes), nonce, length and bytes of course, length and bytes of version.
func encode(c Claims) []byte {
	b := make([]byte, 0, 1+8+nonceSize+2+len(c.Course)+len(c.Version)+ed25519.SignatureSize)
	b = append(b, format)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Deadline.UnixMilli()))
	b = append(b, c.Nonce[:]...)
	b = append(append(b, byte(len(c.Course))), c.Course...)
	return append(append(b, byte(len(c.Version))), c.Version...)
}

// decode accepts only what Sign writes and returns the signed part apart.
func decode(header string) (c Claims, signed, sig []byte, err error) {
	n := len(Scheme) + 1
	if len(header) <= n || header[:n] != Scheme+" " || len(header) > n+1024 {
		return c, nil, nil, ErrMalformed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(header[n:])
	if err != nil || len(b) < 1+8+nonceSize+2+ed25519.SignatureSize || b[0] != format {
		return c, nil, nil, ErrMalformed
	}
	signed, sig = b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	ms := binary.BigEndian.Uint64(signed[1:])
	rest := signed[9+copy(c.Nonce[:], signed[9:]):]
	var ok bool
	if c.Course, rest, ok = name(rest); !ok {
		return c, nil, nil, ErrMalformed
	}
	if c.Version, rest, ok = name(rest); !ok || len(rest) > 0 || ms > 1<<53 {
		return c, nil, nil, ErrMalformed
	}
	c.Deadline = time.UnixMilli(int64(ms))
	return c, signed, sig, nil
}

func name(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}
