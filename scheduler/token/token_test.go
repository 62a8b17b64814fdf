package token

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

var epoch = time.Now()

func create(t *testing.T, path string, expires time.Time, scopes ...string) (secret, id string) {
	t.Helper()
	secret, tok, err := New(scopes, epoch, expires)
	require.NoError(t, err)
	require.NoError(t, Edit(path, func(f *File) error { f.Tokens = append(f.Tokens, tok); return nil }))
	return secret, tok.ID
}

func TestLifeOfAToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	secret, id := create(t, path, epoch.Add(time.Hour), "invoke:tam212")
	s, err := Open(path, zerolog.Nop())
	require.NoError(t, err)
	now := epoch
	s.now = func() time.Time { return now }

	tok, err := s.Token(secret)
	require.NoError(t, err)
	require.Equal(t, id, tok.ID)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(b), secret[len(prefix)+len(id)+1:], "only the hash is kept")
	_, err = s.Token("")
	require.ErrorIs(t, err, ErrNone)
	for _, wrong := range []string{"x", secret + "x", secret[:len(secret)-1], prefix + id + "_", strings.ToLower(secret)} {
		_, err = s.Token(wrong)
		require.ErrorIs(t, err, ErrUnknown)
	}

	now = epoch.Add(time.Hour + 1)
	_, err = s.Token(secret)
	require.ErrorIs(t, err, ErrUnknown, "expired")

	second, _ := create(t, path, time.Time{}, "*:*")
	now = now.Add(recheck)
	_, err = s.Token(second)
	require.NoError(t, err, "read again without a restart")

	require.NoError(t, Edit(path, func(f *File) error { f.Tokens = f.Tokens[:0]; return nil }))
	now = now.Add(recheck)
	_, err = s.Token(second)
	require.ErrorIs(t, err, ErrUnknown, "revoked")
}

func TestAFileThatCannotBeUsedLetsNobodyIn(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":     os.Remove,
		"broken":   func(p string) error { return os.WriteFile(p, []byte("{"), 0o600) },
		"readable": func(p string) error { return os.Chmod(p, 0o644) },
		"unknown":  func(p string) error { return os.WriteFile(p, []byte(`{"tokens":[],"admins":[]}`), 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "tokens.json")
		secret, _ := create(t, path, time.Time{}, "*:*")
		s, err := Open(path, zerolog.Nop())
		require.NoError(t, err)
		require.NoError(t, spoil(path))
		now := time.Now().Add(recheck)
		s.now = func() time.Time { return now }
		if name == "readable" {
			require.NoError(t, os.Chtimes(path, now, now))
		}
		_, err = s.Token(secret)
		require.ErrorIs(t, err, ErrUnknown, name)
		_, err = Open(path, zerolog.Nop())
		require.Error(t, err, name)
	}
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		scope, verb, course string
		want                bool
	}{
		{"invoke:tam212", "invoke", "tam212", true},
		{"invoke:tam212", "invoke", "tam213", false},
		{"invoke:tam212", "files", "tam212", false},
		{"invoke:tam212", "invoke", "", false},
		{"*:tam212", "files", "tam212", true},
		{"*:tam212", "purge", "", false},
		{"run:*", "run", "", true},
		{"*:*", "purge", "", true},
	} {
		tok := Token{Scopes: []string{tc.scope}}
		require.Equal(t, tc.want, tok.Allows(tc.verb, tc.course), "%+v", tc)
	}
	for _, bad := range []string{"", "invoke", "invoke:", ":x", "fly:x"} {
		_, _, err := New([]string{bad}, epoch, epoch)
		require.Error(t, err, bad)
	}
	_, _, err := New(nil, epoch, epoch)
	require.Error(t, err)
}

func TestPublicEntries(t *testing.T) {
	f, err := Parse([]byte(`{"tokens":[],"public":[{"id":"learn","origins":["https://learn.example"],"verbs":["run"],"runtimes":["ada"]}]}`))
	require.NoError(t, err)
	p := &f.Public[0]
	require.Equal(t, []int{30, 2}, []int{p.PerMinute, p.Concurrency})
	require.True(t, p.Allows("run", ""))
	require.False(t, p.Allows("invoke", "tam212"))
	for _, bad := range []string{
		`{"id":"a","origins":["*"],"verbs":["run"]}`,
		`{"id":"a","origins":["https://x/"],"verbs":["run"]}`,
		`{"id":"a","origins":["https://x"],"verbs":["purge"]}`,
		`{"id":"a","origins":["https://x"],"verbs":[]}`,
		`{"origins":["https://x"],"verbs":["run"]}`,
		`{"id":"a","origins":["https://x"],"verbs":["run"],"concurrency":-1}`,
	} {
		_, err := Parse([]byte(`{"tokens":[],"public":[` + bad + `]}`))
		require.Error(t, err, bad)
	}
}

func TestLimiter(t *testing.T) {
	now := epoch
	l := NewLimiter()
	l.now = func() time.Time { return now }
	p := &Public{ID: "p", PerMinute: 60, Concurrency: 2}
	a, _ := l.Enter(p, "1.1.1.1")
	b, _ := l.Enter(p, "1.1.1.1")
	c, again := l.Enter(p, "1.1.1.1")
	require.NotNil(t, a)
	require.NotNil(t, b)
	require.Nil(t, c, "two at once")
	require.Positive(t, again)
	other, _ := l.Enter(p, "1.1.1.2")
	require.NotNil(t, other, "another address")
	a()
	a()
	b()
	served := 2
	for range 100 {
		if leave, _ := l.Enter(p, "1.1.1.1"); leave != nil {
			leave()
			served++
		}
	}
	require.Equal(t, 10, served, "the burst")
	now = now.Add(2 * time.Second)
	for range 2 {
		leave, _ := l.Enter(p, "1.1.1.1")
		require.NotNil(t, leave)
		leave()
	}
	_, again = l.Enter(p, "1.1.1.1")
	require.InDelta(t, time.Second, again, float64(10*time.Millisecond))
	now = now.Add(time.Minute)
	less := &Public{ID: "p", PerMinute: 6, Concurrency: 2} // the file says so now
	for _, want := range []bool{true, false} {
		leave, _ := l.Enter(less, "1.1.1.1")
		require.Equal(t, want, leave != nil, "an address that was seen before")
		if leave != nil {
			leave()
		}
	}
	for i := range maxAddresses + 10 {
		l.Enter(p, fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(l.seen), maxAddresses)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"tokens":[{"id":"a","hash":"` + strings.Repeat("ab", 32) + `","scopes":["*:*"],"created":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"tokens":[],"public":[{"id":"learn","origins":["https://l.example"],"verbs":["run"]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		for _, tok := range file.Tokens {
			require.Len(t, tok.Hash, 64)
		}
		for _, p := range file.Public {
			require.NotContains(t, p.Origins, "*")
			require.Positive(t, p.Concurrency)
		}
	})
}
