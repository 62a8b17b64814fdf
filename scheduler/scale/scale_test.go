package scale_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler/scale"
)

// cluster is a group whose workers are there as soon as they are asked for.
type cluster struct {
	mu                   sync.Mutex
	now, least, most     int
	busy, waiting, asked int
	calls                uint64
	blocked              bool
}

func (c *cluster) Count(context.Context) (now, least, most int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.least, c.most, nil
}

func (c *cluster) Scale(_ context.Context, n int, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked++; c.blocked {
		return errors.New("job scaling blocked due to active deployment")
	}
	c.now = n
	return nil
}

func (c *cluster) figures(mine int) func() scale.Figures {
	return func() scale.Figures {
		c.mu.Lock()
		defer c.mu.Unlock()
		f := scale.Figures{Workers: c.now, Slots: 10 * c.now, Busy: min(c.busy, 10*c.now), Calls: c.calls}
		if f.Workers == 0 {
			f.Held = mine * c.waiting
		} else {
			f.Waiting = mine * c.waiting
		}
		return f
	}
}

func (c *cluster) set(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// run starts two gateways: all waiting calls are the first one's.
func run(t *testing.T, c *cluster) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 2 {
		s, err := scale.New(scale.Config{Figures: c.figures(1 - i), Group: c, Quiet: time.Minute, Idle: 10 * time.Minute})
		require.NoError(t, err)
		wg.Go(func() { s.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestWorkersFollowTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{now: 2, least: 1, most: 5}
		run(t, c)
		c.set(func() { c.busy = 14 })
		require.Equal(t, 2, c.count(), "three quarters of two workers are not exceeded")
		c.set(func() { c.busy, c.waiting = 20, 10 })
		require.Equal(t, 4, c.count(), "30 calls at 7.5 a worker")
		c.set(func() { c.waiting = 1000 })
		require.Equal(t, 5, c.count(), "no more than the bound")

		asked := c.asked
		c.set(func() { c.busy, c.waiting = 3, 0 })
		time.Sleep(50 * time.Second)
		require.Equal(t, 5, c.count(), "a short rest takes nobody away")
		c.set(func() { c.busy = 36 })
		c.set(func() { c.busy = 3 })
		time.Sleep(50 * time.Second)
		require.Equal(t, 5, c.count(), "five were needed a minute ago")
		time.Sleep(30 * time.Second)
		require.Equal(t, 1, c.count())
		require.LessOrEqual(t, c.asked, asked+2, "each gateway asks once")
	})
}

func TestNoneWhenNobodyCallsAndOneAtTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{now: 1, most: 5}
		run(t, c)
		for range 20 { // a call a minute, which no look sees run
			c.set(func() { c.calls++ })
			time.Sleep(time.Minute)
		}
		require.Equal(t, 1, c.count())
		time.Sleep(10 * time.Minute)
		require.Equal(t, 0, c.count())

		c.set(func() { c.waiting = 1 })
		require.Equal(t, 1, c.count(), "held calls start one")
		c.set(func() { c.waiting, c.calls = 0, 0 })
		time.Sleep(5 * time.Minute)
		require.Equal(t, 1, c.count(), "the other gateway, which saw no call, leaves it")
		time.Sleep(10 * time.Minute)
		require.Equal(t, 0, c.count())
	})
}

func TestWhatIsRefusedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{now: 1, most: 5, blocked: true}
		run(t, c)
		c.set(func() { c.busy, c.waiting = 10, 20 })
		require.Equal(t, 1, c.count())
		c.set(func() { c.blocked = false })
		require.Equal(t, 4, c.count())
	})
}
