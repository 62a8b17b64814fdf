package env

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/prairielambda/prairielambda/syncer"
)

// Settings are those of an environment's version; see Manifest.
func Settings(ctx context.Context, s *syncer.Syncer, name, digest string) (c Config, err error) {
	m, err := Manifest(ctx, s, name, digest)
	if err != nil {
		return c, err
	}
	const entry = 1 // see ConfigFile
	err = s.ReadFile(ctx, m, entry, func(r io.Reader) error { return json.NewDecoder(r).Decode(&c) })
	if err != nil {
		return c, fmt.Errorf("read the settings of environment %s: %w", name, err)
	}
	return c, nil
}
