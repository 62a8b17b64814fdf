package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// keeper keeps one zygote alive: it starts a new one when the old one died or
// has forked often enough.
type keeper struct {
	host *sandbox.Host
	cfg  sandbox.ZygoteConfig
	log  zerolog.Logger
	most int64 // forks of one zygote; maxForks but in tests

	mu      sync.Mutex // guards the fields below
	current *sandbox.Zygote
	changed chan struct{} // closed and replaced whenever current changes

	renew  chan struct{} // of capacity 1: ask for a new one
	cancel context.CancelFunc
	done   chan struct{}
}

// maxForks is how many sandboxes one zygote makes: its hash seed and address
// layout are those of all its children and must not live for ever.
const maxForks = 20_000

func newKeeper(ctx context.Context, h *sandbox.Host, cfg sandbox.ZygoteConfig, log zerolog.Logger) (*keeper, error) {
	first, err := h.StartZygote(ctx, cfg)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &keeper{
		host: h, cfg: cfg, log: log, most: maxForks, current: first, changed: make(chan struct{}), renew: make(chan struct{}, 1),
		cancel: cancel, done: make(chan struct{}),
	}
	go k.keep(run)
	return k, nil
}

func (k *keeper) keep(ctx context.Context) {
	defer close(k.done)
	pause := 100 * time.Millisecond
	for {
		k.mu.Lock()
		z := k.current
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			z.Close()
			return
		case <-z.Dead():
			k.log.Error().Msg("the runtime's zygote has ended; starting another")
		case <-k.renew:
			if z.Forks() < k.most {
				continue
			}
		}
		next, err := k.host.StartZygote(ctx, k.cfg)
		if err != nil && ctx.Err() != nil {
			continue // it closes
		}
		if err != nil {
			k.log.Error().Err(err).Msg("cannot start the runtime")
			select {
			case <-ctx.Done():
			case <-time.After(pause):
				pause = min(2*pause, 5*time.Second)
			}
			continue
		}
		pause = 100 * time.Millisecond
		k.mu.Lock()
		k.current = next
		close(k.changed)
		k.changed = make(chan struct{})
		k.mu.Unlock()
		z.Close()
	}
}

// spawn forks a sandbox; a zygote that died meanwhile is waited for once.
func (k *keeper) spawn(ctx context.Context, spec sandbox.Spec) (*sandbox.Box, error) {
	for try := 0; ; try++ {
		k.mu.Lock()
		z, changed := k.current, k.changed
		k.mu.Unlock()
		b, err := z.Spawn(ctx, spec)
		if z.Forks() >= k.most {
			select {
			case k.renew <- struct{}{}:
			default:
			}
		}
		if !errors.Is(err, sandbox.ErrZygoteDead) || try == 2 {
			return b, err
		}
		select {
		case <-changed:
		case <-k.done:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (k *keeper) close() {
	k.cancel()
	<-k.done
}
