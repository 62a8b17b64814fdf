package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/gofrs/flock"

	"github.com/prairielambda/prairielambda/internal/durable"
)

// Edit changes the file at path under a lock, and creates it if need be. When
// Edit returns nil the new content survives a power cut; a crash leaves the old.
func Edit(path string, change func(*File) error) error {
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock tokens file: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // the lock ends with the descriptor at the latest
	f, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = &File{Tokens: []Token{}}, nil
	}
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode tokens file: %w", err)
	}
	if err := durable.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write tokens file: %w", err)
	}
	return nil
}

// List returns what is in the file at path.
func List(path string) (*File, error) { return load(path) }
