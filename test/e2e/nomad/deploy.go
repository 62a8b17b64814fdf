package nomad

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"

	specs "github.com/prairielambda/prairielambda/nomad"
)

// Deployment is what an operator chooses.
type Deployment struct {
	Agent   *Agent // any one
	Bin     string // our programs
	Dir     string // store, state and mount point; a client of its own namespace has the same
	Workers int
	Least   int // bounds of scaling; none when both are 0
	Most    int
	Quiet   string // before there are fewer workers, as in 5m
	Settle  string // of updates; empty: the specifications' default
	Others  bool   // scale, not the gateways
	Gates   int
	Port    int // of gateways; 0 lets Nomad choose
	Secret  string
	Other   string // another token's
}

// Store is the URL of the store.
func (d *Deployment) Store() string { return "dir://" + filepath.Join(d.Dir, "store") }

// Inputs is the URL of the store of long runs' inputs.
func (d *Deployment) Inputs() string { return "dir://" + filepath.Join(d.Dir, "inputs") }

// Mount is the mount point.
func (d *Deployment) Mount() string { return filepath.Join(d.Dir, "courses") }

// Vars are the arguments of `nomad job run` and `plan` for one specification.
func (d *Deployment) Vars(spec string) []string {
	state := "state=" + filepath.Join(d.Dir, "state")
	all := map[string][]string{
		"chunkfs-holder": {state, "mount=" + d.Mount(), "store=" + d.Store(), "cache_size=1GiB"},
		"chunkfs":        {state, "mount=" + d.Mount()},
		"worker":         {"mount=" + d.Mount(), fmt.Sprintf("count=%d", d.Workers), "slots=24"},
		"scheduler":      {fmt.Sprintf("count=%d", d.Gates), fmt.Sprintf("port=%d", d.Port), "render_cache=0", "scaling=off", "inputs=" + d.Inputs(), "long_runs=16"},
		"run":            {"inputs=" + d.Inputs(), "mount=" + d.Mount(), "cpu=900", "memory=256"},
		"sync":           {"store=" + d.Store(), "repositories=" + d.Dir},
		"sync-gc":        {"store=" + d.Store()},
		"sync-verify":    {"store=" + d.Store()},
	}
	if d.Settle != "" {
		for _, updated := range []string{"worker", "chunkfs"} {
			all[updated] = append(all[updated], "settle="+d.Settle)
		}
	}
	if d.Most > 0 {
		all["worker"] = append(all["worker"], fmt.Sprintf("least=%d", d.Least), fmt.Sprintf("most=%d", d.Most))
		all["scheduler"][3] = "scaling=nomad"
		if d.Others {
			all["scheduler"][3] = "scaling=external"
		}
		all["scheduler"] = append(all["scheduler"], "scale_quiet="+d.Quiet, "scale_idle="+d.Quiet)
	}
	args := []string{"-var", "bin=" + d.Bin}
	for _, v := range all[spec] {
		args = append(args, "-var", v)
	}
	return append(args, spec+".nomad.hcl")
}

// Specs are what answers calls, in the order of a first deploy.
var Specs = []string{"chunkfs-holder", "chunkfs", "worker", "run", "scheduler"}

// Run deploys one specification and returns when Nomad has taken it.
func (d *Deployment) Run(spec string) error {
	_, err := d.Agent.CLI(append([]string{"job", "run", "-detach"}, d.Vars(spec)...)...)
	return err
}

// Policies gives the gateways' job its policy, and deploys from here on with a
// token that may do what deploying takes and no more.
func (d *Deployment) Policies() error {
	c := d.Agent.Client
	for _, p := range []*api.ACLPolicy{
		{Name: "prairie-scheduler", JobACL: &api.JobACL{Namespace: "default", JobID: "prairie-scheduler"}},
		{Name: "prairie-deploy"},
	} {
		rules, err := fs.ReadFile(specs.Files, "policies/"+strings.TrimPrefix(p.Name, "prairie-")+".policy.hcl")
		if err != nil {
			return err
		}
		p.Rules = string(rules)
		if _, err := c.ACLPolicies().Upsert(p, nil); err != nil {
			return fmt.Errorf("apply policy %s: %w", p.Name, err)
		}
	}
	token, _, err := c.ACLTokens().Create(&api.ACLToken{Name: "deploy", Type: "client", Policies: []string{"prairie-deploy"}}, nil)
	if err != nil {
		return fmt.Errorf("make a token for deploying: %w", err)
	}
	d.Agent.Token = token.SecretID
	return nil
}

// Plugin puts the host volume plugin into dir/plugins, for the state and the
// mount below dir.
func Plugin(dir string) error {
	b, err := fs.ReadFile(specs.Files, "plugins/chunkfs")
	if err != nil {
		return err
	}
	text := strings.NewReplacer("=/var/lib/prairielambda", "="+filepath.Join(dir, "state"), "=/courses", "="+filepath.Join(dir, "courses")).Replace(string(b))
	if err := os.MkdirAll(filepath.Join(dir, "plugins"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "plugins", "chunkfs"), []byte(text), 0o755)
}

// NewKeys makes a pair of keys for tickets, in PEM.
func NewKeys() (public, private string, err error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	privDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return "", "", err
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", "", err
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return block("PUBLIC KEY", pubDER), block("PRIVATE KEY", privDER), nil
}

// NewToken adds a token to those that gateways know once Nomad has the file.
func (d *Deployment) NewToken() (secret string, err error) {
	out, err := exec.Command(filepath.Join(d.Bin, "scheduler"), "token", "create", "--tokens", d.Tokens(), "--scope", "*:*").Output()
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Tokens is the file of tokens.
func (d *Deployment) Tokens() string { return filepath.Join(d.Dir, "tokens.json") }

// Keys makes the keys and two tokens, and gives them to Nomad.
func (d *Deployment) Keys() error {
	public, private, err := NewKeys()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.Dir, "inputs"), 0o755); err != nil {
		return err
	}
	for _, s := range []*string{&d.Secret, &d.Other} {
		if *s, err = d.NewToken(); err != nil {
			return err
		}
	}
	tokens, err := os.ReadFile(d.Tokens())
	if err != nil {
		return err
	}
	for job, items := range map[string]api.VariableItems{
		"prairie-worker":    {"ticket_pub": public},
		"prairie-scheduler": {"ticket_key": private, "tokens": string(tokens)},
	} {
		v := &api.Variable{Path: "nomad/jobs/" + job, Items: items}
		if _, _, err := d.Agent.Client.Variables().Create(v, nil); err != nil {
			return fmt.Errorf("put variable %s: %w", v.Path, err)
		}
	}
	return nil
}

// Push pushes a work tree.
func (d *Deployment) Push(course, dir string) error {
	out, err := exec.Command(filepath.Join(d.Bin, "syncer"), "push", "--store", d.Store(), "--worktree", course, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("push %s: %w\n%s", course, err, out)
	}
	return nil
}

// Services returns the addresses that a service has now.
func (d *Deployment) Services(name string) ([]string, error) {
	list, _, err := d.Agent.Client.Services().Get(name, nil)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, s := range list {
		urls = append(urls, "http://"+net.JoinHostPort(s.Address, strconv.Itoa(s.Port)))
	}
	return urls, nil
}

// Serving waits until n gateways are ready, which they are when they found a
// worker, and n workers are registered, and returns the gateways.
func (d *Deployment) Serving(ctx context.Context) (gateways []string, err error) {
	err = Await(ctx, "gateways and workers", func() error {
		if gateways, err = d.Services("prairie-gateway"); err != nil {
			return err
		}
		workers, err := d.Services("prairie-worker")
		if err != nil {
			return err
		}
		if len(gateways) < d.Gates || len(workers) < d.Workers {
			return fmt.Errorf("%d gateways, %d workers", len(gateways), len(workers))
		}
		for _, g := range gateways {
			resp, err := http.Get(g + "/readyz")
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode >= 300 {
				return fmt.Errorf("%s: %s", g, resp.Status)
			}
		}
		return nil
	})
	return gateways, err
}
