package chunkfs

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
)

// sickStore is a real store that is as ill as a file says: "down", "hang",
// "wrong", "short", "missing", or "slow 30ms". Without the file it is well. Each
// blob that it is asked for is appended to the file's name with ".log".
type sickStore struct {
	blob.Fetcher
	Heads
	shared Shared
	file   string
}

var errDown = errors.New("the store is down")

func (s *sickStore) fail(ctx context.Context) (illness string, err error) {
	if s.file == "" {
		return "", nil
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return "", nil
	}
	illness = strings.TrimSpace(string(b))
	if d, ok := strings.CutPrefix(illness, "slow "); ok {
		wait, err := time.ParseDuration(d)
		if err != nil {
			return "", err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	switch illness {
	case "down":
		return illness, errDown
	case "hang":
		<-ctx.Done()
		return illness, ctx.Err()
	}
	return illness, nil
}

func (s *sickStore) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	if s.file != "" {
		if f, err := os.OpenFile(s.file+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			_, _ = f.WriteString(d.String() + "\n")
			f.Close()
		}
	}
	ill, err := s.fail(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.Fetcher.Fetch(ctx, d)
	switch {
	case err != nil:
	case ill == "missing":
		return nil, blob.ErrNotFound
	case ill == "wrong":
		b[len(b)/2] ^= 1
	case ill == "short":
		b = b[:len(b)/2]
	}
	return b, err
}

func (s *sickStore) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	if _, err := s.fail(ctx); err != nil {
		return head.Head{}, "", err
	}
	return s.Heads.Get(ctx, course)
}

func (s *sickStore) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	if _, err := s.fail(ctx); err != nil {
		return head.Version{}, err
	}
	return s.Heads.GetVersion(ctx, course, version)
}

func (s *sickStore) List(ctx context.Context) ([]string, error) {
	if _, err := s.fail(ctx); err != nil {
		return nil, err
	}
	return s.Heads.List(ctx)
}

func (s *sickStore) ListVersions(ctx context.Context, course string, fn func(head.Stored) error) error {
	if _, err := s.fail(ctx); err != nil {
		return err
	}
	return s.Heads.ListVersions(ctx, course, fn)
}

func (s *sickStore) PutProfile(ctx context.Context, p head.Profile) error {
	if _, err := s.fail(ctx); err != nil {
		return err
	}
	return s.shared.PutProfile(ctx, p)
}

func (s *sickStore) Profile(ctx context.Context, course, node string) (head.Profile, error) {
	if _, err := s.fail(ctx); err != nil {
		return head.Profile{}, err
	}
	return s.shared.Profile(ctx, course, node)
}
