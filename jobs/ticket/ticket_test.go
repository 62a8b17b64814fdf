package ticket

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func keyPair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return pub, priv
}

func TestTicketIsGoodOnceForWhatItNames(t *testing.T) {
	pub, priv := keyPair(t)
	v := NewVerifier(pub)
	c := New("tam212", "current", time.Now().Add(time.Minute))
	h, err := Sign(priv, c)
	require.NoError(t, err)

	_, err = v.Verify(h, "tam213", "current")
	require.ErrorIs(t, err, ErrForeign)
	_, err = v.Verify(h, "tam212", "0123")
	require.ErrorIs(t, err, ErrForeign)
	got, err := v.Verify(h, "tam212", "current")
	require.NoError(t, err)
	require.Equal(t, c.Nonce, got.Nonce)
	require.Equal(t, c.Deadline.UnixMilli(), got.Deadline.UnixMilli())
	_, err = v.Verify(h, "tam212", "current")
	require.ErrorIs(t, err, ErrReplayed)
}

func TestDeadlines(t *testing.T) {
	pub, priv := keyPair(t)
	now := time.Unix(1_700_000_000, 0)
	v := NewVerifier(pub)
	v.now = func() time.Time { return now }
	for _, tc := range []struct {
		in   time.Duration
		want error
	}{
		{-Skew - time.Millisecond, ErrExpired},
		{-Skew, nil},
		{time.Second, nil},
		{MaxLife + Skew, nil},
		{MaxLife + Skew + time.Millisecond, ErrExpired},
	} {
		h, err := Sign(priv, New("c", "v", now.Add(tc.in)))
		require.NoError(t, err)
		_, err = v.Verify(h, "c", "v")
		require.ErrorIs(t, err, tc.want, "%v", tc.in)
	}
	require.Len(t, v.seen, 3)
	now = now.Add(MaxLife + 3*Skew) // all of them are past, and forgotten with the next use
	h, _ := Sign(priv, New("c", "v", now))
	_, err := v.Verify(h, "c", "v")
	require.NoError(t, err)
	require.Len(t, v.seen, 1)
}

func TestRotationAcceptsTwoKeysAndNoThird(t *testing.T) {
	oldPub, oldPriv := keyPair(t)
	newPub, newPriv := keyPair(t)
	_, stranger := keyPair(t)
	v := NewVerifier(oldPub, newPub)
	for _, tc := range []struct {
		key  ed25519.PrivateKey
		want error
	}{{oldPriv, nil}, {newPriv, nil}, {stranger, ErrSignature}} {
		h, err := Sign(tc.key, New("c", "v", time.Now()))
		require.NoError(t, err)
		_, err = v.Verify(h, "c", "v")
		require.ErrorIs(t, err, tc.want)
	}
	require.Len(t, v.seen, 2, "a stranger's ticket takes no memory")
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	pub, priv := keyPair(t)
	h, err := Sign(priv, New("c", "v", time.Now()))
	require.NoError(t, err)
	for i := range h {
		b := []byte(h)
		b[i] ^= 1
		_, err := NewVerifier(pub).Verify(string(b), "c", "v")
		require.Error(t, err, "byte %d", i)
	}
	_, err = Sign(priv, New(strings.Repeat("c", 256), "v", time.Now()))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestKeyFiles(t *testing.T) {
	pub, priv := keyPair(t)
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	require.NoError(t, err)
	k, err := ParsePrivate(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	require.Equal(t, priv, k)
	der, err = x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	one := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	ks, err := ParsePublic(append(one, one...))
	require.NoError(t, err)
	require.Equal(t, []ed25519.PublicKey{pub, pub}, ks)
	for _, bad := range []string{"", "x", strings.Repeat(string(one), 3)} {
		_, err = ParsePublic([]byte(bad))
		require.Error(t, err)
		_, err = ParsePrivate([]byte(bad))
		require.Error(t, err)
	}
}

func FuzzDecode(f *testing.F) {
	_, priv := keyPair(f)
	h, _ := Sign(priv, New("tam212", "current", time.UnixMilli(1)))
	f.Add(h)
	f.Add(Scheme + " AQ")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		c, signed, _, err := decode(header)
		if err == nil {
			require.Equal(t, signed, encode(c), "decode accepts only what encode writes")
		}
	})
}
