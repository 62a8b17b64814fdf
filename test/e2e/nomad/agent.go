// Package nomad runs real Nomad agents for tests and for `make cluster`: three
// servers and two clients in network and mount namespaces of this machine.
//
// It guarantees that Down ends what was started, jobs first, and leaves no mount,
// no process and no link, also for a cluster that another process made; it ends
// only what lives in the cluster's namespaces.
package nomad

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/nomad/api"

	specs "github.com/prairielambda/prairielambda/nomad"
)

// Root is the directory of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}

// Program returns the path of a Nomad agent; build says whether one may be built
// where there is none, which takes minutes.
func Program(build bool) (string, error) {
	cmd := exec.Command(filepath.Join(Root(), "nomad/agent/build"))
	if !build {
		cmd.Args = append(cmd.Args, "--path")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("find a Nomad agent: %w: %s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Agent is one running agent.
type Agent struct {
	Dir     string // its own, below the one given to Start
	Address string // base URL of its HTTP API
	Client  *api.Client

	// Token is what CLI says who it is; the management token at first.
	Token string

	program string
	secret  string
	keeper  int // process whose namespaces it runs in, or 0
	cmd     *exec.Cmd
}

// AgentConfig says what an agent is, besides the files of nomad/config.
type AgentConfig struct {
	Program string
	Dir     string // made when it is missing
	Name    string
	Server  bool
	Client  bool
	IP      string   // to bind and advertise
	Ports   [3]int   // http, rpc, serf
	Device  string   // network interface of IP
	Keeper  int      // process whose network and mounts it shares; 0 for this one's
	Expect  int      // servers
	Join    []string // the servers: host:port, of serf for a server and of rpc for a client
	Secret  string   // management token of the cluster, a UUID
	Plugins string   // directory of host volume plugins; may be empty
}

// NewSecret makes a management token.
func NewSecret() (string, error) {
	var b [16]byte
	_, err := rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), err
}

// NewAgent writes the agent's configuration; Start starts it.
func NewAgent(cfg AgentConfig) (*Agent, error) {
	a := &Agent{Dir: cfg.Dir, Token: cfg.Secret, program: cfg.Program, secret: cfg.Secret, keeper: cfg.Keeper}
	a.Address = fmt.Sprintf("http://%s:%d", cfg.IP, cfg.Ports[0])
	if err := os.MkdirAll(filepath.Join(a.Dir, "config"), 0o755); err != nil {
		return nil, err
	}
	files := []string{"common"}
	if cfg.Server {
		files = append(files, "server")
	}
	if cfg.Client {
		files = append(files, "client")
	}
	for _, f := range files {
		b, err := fs.ReadFile(specs.Files, "config/"+f+".hcl")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(a.Dir, "config", f+".hcl"), b, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(a.Dir, "config", "own.hcl"), []byte(cfg.own()), 0o644); err != nil {
		return nil, err
	}
	var err error
	c := api.DefaultConfig()
	c.Address, c.SecretID = a.Address, cfg.Secret
	a.Client, err = api.NewClient(c)
	return a, err
}

// own is what is the machine's own.
func (c *AgentConfig) own() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name = %q\ndata_dir = %q\nbind_addr = %q\nlog_level = \"INFO\"\n", c.Name, filepath.Join(c.Dir, "data"), c.IP)
	fmt.Fprintf(&b, "ports {\n  http = %d\n  rpc = %d\n  serf = %d\n}\n", c.Ports[0], c.Ports[1], c.Ports[2])
	fmt.Fprintf(&b, "advertise {\n  http = %q\n  rpc = %q\n  serf = %q\n}\n", c.IP, c.IP, c.IP)
	if c.Server {
		fmt.Fprintf(&b, "server {\n  bootstrap_expect = %d\n", c.Expect)
		if len(c.Join) > 0 {
			fmt.Fprintf(&b, "  server_join {\n    retry_join = [%s]\n    retry_interval = \"1s\"\n  }\n", quoted(c.Join))
		}
		b.WriteString("}\n")
	}
	if c.Client {
		// The machine is small and busy: room for every job, whatever it has.
		fmt.Fprintf(&b, "client {\n  network_interface = %q\n  cpu_total_compute = 8000\n  memory_total_mb = 16000\n", c.Device)
		if c.Plugins != "" {
			fmt.Fprintf(&b, "  host_volume_plugin_dir = %q\n", c.Plugins)
		}
		// What tasks of the exec driver see besides their own: /bin/true, for a copy
		// of all of /usr takes ten seconds.
		b.WriteString(chroot)
		if len(c.Join) > 0 {
			fmt.Fprintf(&b, "  servers = [%s]\n", quoted(c.Join))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

const chroot = `  chroot_env {
    "/usr/bin/true" = "/bin/true"
    "/usr/lib/x86_64-linux-gnu/libc.so.6" = "/lib/x86_64-linux-gnu/libc.so.6"
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" = "/lib64/ld-linux-x86-64.so.2"
    "/etc/passwd" = "/etc/passwd"
  }
`

func quoted(addrs []string) string {
	var q []string
	for _, a := range addrs {
		q = append(q, strconv.Quote(a))
	}
	return strings.Join(q, ", ")
}

// Start starts the agent and does not wait for it.
func (a *Agent) Start() error {
	log, err := os.OpenFile(a.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{a.program, "agent", "-config", filepath.Join(a.Dir, "config")}
	if a.keeper != 0 {
		args = append([]string{"nsenter", "-t", strconv.Itoa(a.keeper), "-m", "-n"}, args...)
	}
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.Dir = a.Dir
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's ^C is for us
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	return nil
}

// Log is the path of the agent's log.
func (a *Agent) Log() string { return filepath.Join(a.Dir, "agent.log") }

// Pid is the agent's process.
func (a *Agent) Pid() int { return a.cmd.Process.Pid }

// Stop ends the agent with sig and waits; its allocations run on.
func (a *Agent) Stop(sig syscall.Signal) {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(sig)
	timer := time.AfterFunc(30*time.Second, func() { _ = a.cmd.Process.Kill() })
	_ = a.cmd.Wait()
	timer.Stop()
	a.cmd = nil
}

// CLI runs the nomad program against this agent and returns what it printed.
func (a *Agent) CLI(args ...string) (string, error) {
	cmd := exec.Command(a.program, args...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+a.Address, "NOMAD_TOKEN="+a.Token)
	cmd.Dir = filepath.Join(Root(), "nomad")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("nomad %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Led waits until there is a leader that knows the management token and can sign
// for clients. A client that comes before that tries again only half a minute later.
func (a *Agent) Led(ctx context.Context) error {
	return Await(ctx, "a leader", func() error {
		if _, _, err := a.Client.ACLTokens().BootstrapOpts(a.secret, nil); err != nil && !strings.Contains(err.Error(), "already done") {
			return err
		}
		keys, _, err := a.Client.Keyring().List(nil)
		if err == nil && len(keys) == 0 {
			err = errors.New("no key yet")
		}
		return err
	})
}

// Ready waits until there is a leader and at least n clients take work.
func (a *Agent) Ready(ctx context.Context, n int) error {
	return Await(ctx, fmt.Sprintf("a leader and %d clients", n), func() error {
		if leader, err := a.Client.Status().Leader(); err != nil || leader == "" {
			return fmt.Errorf("no leader: %w", err)
		}
		nodes, _, err := a.Client.Nodes().List(nil)
		if err != nil {
			return err
		}
		ready := 0
		for _, node := range nodes {
			if d := node.Drivers["raw_exec"]; node.Status == "ready" && d != nil && d.Healthy {
				ready++
			}
		}
		if ready < n {
			return fmt.Errorf("%d clients are ready", ready)
		}
		return nil
	})
}

// StopJobs stops every job, the mounts' last, and waits for their ends. It does
// not purge: Nomad would forget the allocations before they have ended.
func (a *Agent) StopJobs(ctx context.Context) error {
	jobs, _, err := a.Client.Jobs().List(nil)
	if err != nil {
		return fmt.Errorf("stop jobs: %w", err)
	}
	for _, last := range []bool{false, true} {
		for _, j := range jobs {
			if strings.HasPrefix(j.ID, "prairie-chunkfs") == last {
				if _, _, err := a.Client.Jobs().Deregister(j.ID, false, nil); err != nil {
					return fmt.Errorf("stop job %s: %w", j.ID, err)
				}
			}
		}
		err := Await(ctx, "the end of all allocations", func() error {
			allocs, _, err := a.Client.Allocations().List(nil)
			if err != nil {
				return err
			}
			for _, al := range allocs {
				if strings.HasPrefix(al.JobID, "prairie-chunkfs") == last && (al.ClientStatus == "running" || al.ClientStatus == "pending") {
					return fmt.Errorf("%s of %s is %s", al.ID[:8], al.JobID, al.ClientStatus)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Await calls check until it returns nil, for three minutes at most.
func Await(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
