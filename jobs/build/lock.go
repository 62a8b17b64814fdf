package build

import (
	"context"
	"errors"

	"github.com/prairielambda/prairielambda/internal/recipe"
)

// Lock finds out what r means now over the root filesystem at lower, which is
// empty for none. base is that root's NAME@DIGEST.
func (b *Builder) Lock(ctx context.Context, base, lower string, r *recipe.Recipe, out func(string)) (*recipe.Locked, error) {
	if lower == "" && (len(r.Debian) == 0 || len(r.Pip)+len(r.NPM)+len(r.Files) > 0) {
		return nil, failed("a recipe without a base is a root of Debian packages")
	}
	l := &recipe.Locked{Recipe: *r}
	l.Base = base
	if lower == "" {
		l.Suite = b.cfg.Suite
	}
	err := b.lockDebian(ctx, lower, l, out)
	if err == nil {
		err = b.lockPip(ctx, lower, l, out)
	}
	if err == nil {
		err = b.lockNPM(ctx, lower, l, out)
	}
	return l, err
}

// throwAway runs a step over lower and forgets what it changed.
func (b *Builder) throwAway(ctx context.Context, lower string, s step, out func(string)) (said []byte, err error) {
	t, err := b.cfg.Host.NewTree(lower, b.cfg.Disk)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return b.run(ctx, t, s, out)
}
