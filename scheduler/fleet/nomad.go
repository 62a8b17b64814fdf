package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/rs/zerolog"
)

// NomadConfig says which service of which Nomad the workers are. The zero value
// of a field means its default.
type NomadConfig struct {
	// Addresses of agents, as http://127.0.0.1:4646 or unix:///secrets/api.sock.
	// When one does not answer the next is asked.
	Addresses []string
	Token     string // default: $NOMAD_TOKEN, which a workload identity sets
	Namespace string // default: $NOMAD_NAMESPACE, else Nomad's own default
	Service   string // default "prairie-worker"

	Hold   time.Duration // how long one question may wait for a change; default 1 min
	Late   time.Duration // that an answer may come after Hold; default 15 s
	Turn   time.Duration // of one agent to answer anything else, while there is another to ask; default 3 s
	Pause  time.Duration // after an agent failed to answer; default 500 ms
	Settle time.Duration // least time between two questions, so that a restless cluster costs little; default 50 ms

	Log zerolog.Logger
}

// Nomad is a Source: the live registrations of one Nomad service.
//
// It guarantees that what it last learned stays in force while no agent answers:
// a cluster without a leader, or a client agent that restarts, takes no worker
// away. Whether a worker answers is for the fleet's own probes to say.
type Nomad struct {
	cfg     NomadConfig
	clients []*api.Client
	first   atomic.Int32 // of the clients, to be asked
}

// NewNomad returns a source; nothing is asked before Watch.
func NewNomad(cfg NomadConfig) (*Nomad, error) {
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("fleet: no address of a Nomad agent")
	}
	if cfg.Service == "" {
		cfg.Service = "prairie-worker"
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Hold, time.Minute}, {&cfg.Late, 15 * time.Second}, {&cfg.Turn, 3 * time.Second}, {&cfg.Pause, 500 * time.Millisecond}, {&cfg.Settle, 50 * time.Millisecond}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	n := &Nomad{cfg: cfg}
	for _, a := range cfg.Addresses {
		u, err := url.Parse(a)
		if err != nil || (u.Scheme != "unix" && u.Host == "") {
			return nil, fmt.Errorf("fleet: Nomad address %q is not like http://127.0.0.1:4646 or unix:///path", a)
		}
		c := api.DefaultConfig() // reads NOMAD_TOKEN, NOMAD_NAMESPACE, NOMAD_CACERT, ...
		c.Address = a
		if cfg.Token != "" {
			c.SecretID = cfg.Token
		}
		if cfg.Namespace != "" {
			c.Namespace = cfg.Namespace
		}
		client, err := api.NewClient(c)
		if err != nil {
			return nil, fmt.Errorf("fleet: Nomad at %s: %w", a, err)
		}
		n.clients = append(n.clients, client)
	}
	return n, nil
}

// Watch implements Source with blocking queries.
func (n *Nomad) Watch(ctx context.Context, update func(urls []string)) error {
	at, failing := 0, false
	var index uint64
	for ctx.Err() == nil {
		urls, next, err := n.ask(ctx, n.clients[at], index)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !failing {
				n.cfg.Log.Warn().Err(err).Str("nomad", n.cfg.Addresses[at]).Msg("Nomad does not answer; workers stay as they were")
			}
			failing, at, index = true, (at+1)%len(n.clients), 0
			sleep(ctx, n.cfg.Pause)
			continue
		case failing:
			n.cfg.Log.Info().Str("nomad", n.cfg.Addresses[at]).Msg("Nomad answers again")
		}
		failing = false
		// Indices are of one cluster's life. One that went back is of another:
		// ask again at once, with nothing to wait for.
		if next != index || index == 0 {
			update(urls)
		}
		if next < index {
			next = 0
		}
		index = next
		sleep(ctx, n.cfg.Settle)
	}
	return nil
}

// ask returns the workers that are registered, as soon as the answer is newer than index.
func (n *Nomad) ask(ctx context.Context, c *api.Client, index uint64) (urls []string, next uint64, err error) {
	// An agent that was stopped, or whose machine is gone, keeps the connection and
	// says nothing: it is left for the next.
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Hold+n.cfg.Late)
	defer cancel()
	// Any server may answer, also while there is no leader.
	q := (&api.QueryOptions{AllowStale: true, WaitIndex: index, WaitTime: n.cfg.Hold}).WithContext(ctx)
	list, meta, err := c.Services().Get(n.cfg.Service, q)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range list {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(s.Address, strconv.Itoa(s.Port))}
		for _, tag := range s.Tags {
			if tag == "https" {
				u.Scheme = "https"
			}
		}
		urls = append(urls, u.String())
	}
	return urls, max(meta.LastIndex, 1), nil // 0 would not wait
}

// Close ends the connections to the agents.
func (n *Nomad) Close() {
	for _, c := range n.clients {
		c.Close()
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
