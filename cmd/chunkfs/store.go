package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/rs/zerolog"
)

// lateStore is a store that may be out of reach when a server takes a mount
// over: what is cached is served meanwhile, and every other request tries to open it.
type lateStore struct {
	url string

	mu    sync.Mutex // guards store
	store *storage.Store
}

// openStore opens the store at url; with mayWait a failure is only logged.
func openStore(ctx context.Context, url string, log zerolog.Logger, mayWait bool) (*lateStore, error) {
	s := &lateStore{url: url}
	if _, err := s.get(ctx); err != nil {
		if !mayWait {
			return nil, err
		}
		log.Warn().Err(err).Msg("store is out of reach; serving what is cached")
	}
	return s, nil
}

func (s *lateStore) get(ctx context.Context) (*storage.Store, error) {
	s.mu.Lock()
	store := s.store
	s.mu.Unlock()
	if store != nil {
		return store, nil
	}
	store, err := storage.Open(ctx, s.url)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.store == nil {
		s.store = store
	}
	first := s.store
	s.mu.Unlock()
	if first != store {
		_ = store.Close() // several requests opened it at once
	}
	return first, nil
}

func (s *lateStore) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		_ = s.store.Close()
	}
}

func (s *lateStore) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	st, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	return st.Blobs.Fetch(ctx, d)
}

func (s *lateStore) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	st, err := s.get(ctx)
	if err != nil {
		return head.Head{}, "", err
	}
	return st.Heads.Get(ctx, course)
}

func (s *lateStore) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	st, err := s.get(ctx)
	if err != nil {
		return head.Version{}, err
	}
	return st.Heads.GetVersion(ctx, course, version)
}

func (s *lateStore) List(ctx context.Context) ([]string, error) {
	st, err := s.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("list courses: %w", err)
	}
	return st.Heads.List(ctx)
}

func (s *lateStore) ListVersions(ctx context.Context, course string, fn func(head.Stored) error) error {
	st, err := s.get(ctx)
	if err != nil {
		return err
	}
	return st.Heads.ListVersions(ctx, course, fn)
}

func (s *lateStore) PutProfile(ctx context.Context, p head.Profile) error {
	st, err := s.get(ctx)
	if err != nil {
		return err
	}
	return st.Heads.PutProfile(ctx, p)
}

func (s *lateStore) Profile(ctx context.Context, course, node string) (head.Profile, error) {
	st, err := s.get(ctx)
	if err != nil {
		return head.Profile{}, err
	}
	return st.Heads.Profile(ctx, course, node)
}
