package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Serve answers on ln until ctx ends, and probes the workers meanwhile. Then it
// drains: /readyz is false and calls are still taken for notice, so that load
// balancers can see it; after that nothing new is accepted and calls in flight
// have grace to end. It returns nil after a drain that lost no call.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener, notice, grace time.Duration) error {
	srv := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	probing, stopProbing := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	group.Go(func() error { return g.Run(probing) })
	group.Go(func() error {
		defer stopProbing() // the workers are needed until the last call has ended
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		select {
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-ctx.Done():
		}
		g.Drain()
		g.cfg.Log.Info().Msg("draining")
		pause(context.WithoutCancel(ctx), notice)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := srv.Shutdown(end)
		if err != nil {
			err = errors.Join(fmt.Errorf("drain: calls were cut off: %w", err), srv.Close())
		}
		err = errors.Join(err, g.endSockets(end))
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	})
	return group.Wait()
}

// endSockets waits for sessions to end, and cuts those off that take longer than ctx.
func (g *Gateway) endSockets(ctx context.Context) error {
	ended := make(chan struct{})
	go func() { g.sockets.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	close(g.cut)
	<-ended
	return fmt.Errorf("drain: sessions were cut off: %w", ctx.Err())
}
