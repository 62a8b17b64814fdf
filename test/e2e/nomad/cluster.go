package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Cluster is three servers and two clients on one machine. Each is a machine of
// its own as far as network and mounts go: it lives in namespaces that a process
// without any work keeps, all on one bridge, so that an agent can die and come
// back to what its allocations mounted, and taking a link down is a partition.
type Cluster struct {
	Dir    string
	Secret string // management token
	Net    int    // third byte of its addresses, and in the names of its links
	Nodes  []*Node
}

// Node is one machine of the cluster.
type Node struct {
	Name   string
	IP     string
	Link   string // our end of its cable
	Keeper int    // process that keeps the namespaces
	Agent  *Agent `json:"-"`
	config AgentConfig
}

// firstNet is the net of a cluster where no other one runs.
const firstNet = 77

func (c *Cluster) ip(host int) string { return fmt.Sprintf("10.231.%d.%d", c.Net, host) }

func (c *Cluster) bridge() string { return fmt.Sprintf("prl%d", c.Net) }

// wire makes the bridge that all machines hang on, on the first net that no other
// cluster has.
func (c *Cluster) wire() (err error) {
	for c.Net = firstNet; c.Net < firstNet+20; c.Net++ {
		if err = ip("link add " + c.bridge() + " type bridge"); err == nil || !strings.Contains(err.Error(), "exists") {
			break
		}
	}
	if err != nil {
		c.Net = 0 // nothing of ours to take away
		return err
	}
	return errors.Join(c.save(), ip("addr add "+c.ip(1)+"/24 dev "+c.bridge()), ip("link set "+c.bridge()+" up"))
}

// NewCluster makes the machines below dir; no agent runs yet. What fails leaves
// things behind that Down removes.
func NewCluster(program, dir string) (*Cluster, error) {
	c := &Cluster{Dir: dir}
	if _, err := os.Stat(c.file()); err == nil {
		return nil, fmt.Errorf("%s is there: a cluster runs, or ended badly; take it down first", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if c.Secret, err = NewSecret(); err != nil {
		return c, err
	}
	if err := Plugin(dir); err != nil {
		return c, err
	}
	if err := c.wire(); err != nil {
		return c, err
	}
	servers := []string{c.ip(11), c.ip(12), c.ip(13)}
	for i, name := range []string{"server1", "server2", "server3", "client1", "client2"} {
		n := &Node{Name: name, IP: c.ip(11 + i), Link: c.bridge() + "-" + name}
		c.Nodes = append(c.Nodes, n)
		if err := c.make(n); err != nil {
			return c, err
		}
		n.config = AgentConfig{
			Program: program, Dir: filepath.Join(dir, name), Name: name, IP: n.IP, Device: "eth0",
			Ports: [3]int{4646, 4647, 4648}, Keeper: n.Keeper, Expect: 3, Server: i < 3, Client: i >= 3,
			Secret: c.Secret, Plugins: filepath.Join(dir, "plugins"),
		}
		for _, s := range servers {
			n.config.Join = append(n.config.Join, s+map[bool]string{true: ":4648", false: ":4647"}[i < 3])
		}
		var err error
		if n.Agent, err = NewAgent(n.config); err != nil {
			return c, err
		}
	}
	return c, nil
}

// make makes a machine: namespaces, a cable, and a state directory of its own at
// the same path as everybody's.
func (c *Cluster) make(n *Node) error {
	keeper := exec.Command("unshare", "--mount", "--net", "--propagation", "slave", "sleep", "infinity")
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("make machine %s: %w", n.Name, err)
	}
	n.Keeper = keeper.Process.Pid
	go keeper.Wait() // no zombie stays
	if err := c.save(); err != nil {
		return err
	}
	if err := Await(context.Background(), "namespaces", func() error {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.Keeper)); err != nil || strings.TrimSpace(string(b)) != "sleep" {
			return fmt.Errorf("%s: %w", b, err)
		}
		return nil
	}); err != nil {
		return err
	}
	own, shared := filepath.Join(c.Dir, n.Name, "state"), filepath.Join(c.Dir, "state")
	for _, d := range []string{own, shared} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := ip(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", n.Link, n.Keeper)); err != nil {
		return err
	}
	if err := ip(fmt.Sprintf("link set %s master %s up", n.Link, c.bridge())); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "addr", "add", n.IP + "/24", "dev", "eth0"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "via", c.ip(1)},
		{"mount", "--bind", own, shared},
	} {
		if _, err := n.Inside(args...); err != nil {
			return err
		}
	}
	return nil
}

// Path is where this machine sees what the node sees at p.
func (n *Node) Path(p string) string { return fmt.Sprintf("/proc/%d/root%s", n.Keeper, p) }

// Inside runs a program to its end on the machine and returns what it printed.
func (n *Node) Inside(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(n.Keeper), "-m", "-n"}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %s: %w: %s", n.Name, strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// Cable connects the machine, or cuts it off.
func (n *Node) Cable(up bool) error {
	return ip("link set " + n.Link + map[bool]string{true: " up", false: " down"}[up])
}

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// Start starts all agents and waits until both clients take work.
func (c *Cluster) Start(ctx context.Context) error {
	for i, n := range c.Nodes {
		if i == 3 {
			if err := c.Nodes[0].Agent.Led(ctx); err != nil {
				return err
			}
		}
		if err := n.Agent.Start(); err != nil {
			return err
		}
	}
	return c.Nodes[0].Agent.Ready(ctx, 2)
}

// Deploy deploys everything that answers calls and returns the gateways.
func (c *Cluster) Deploy(ctx context.Context, bin, course string) (*Deployment, []string, error) {
	d := &Deployment{Agent: c.Nodes[0].Agent, Bin: bin, Dir: c.Dir, Workers: 2, Gates: 2, Port: 7300}
	if err := errors.Join(d.Policies(), d.Keys(), d.Push("sample", course)); err != nil {
		return d, nil, err
	}
	for _, spec := range Specs {
		if err := d.Run(spec); err != nil {
			return d, nil, err
		}
	}
	gateways, err := d.Serving(ctx)
	return d, gateways, err
}

func (c *Cluster) file() string { return filepath.Join(c.Dir, "cluster.json") }

func (c *Cluster) save() error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(c.file(), b, 0o600)
}

// Down stops the jobs, ends every process of the machines' namespaces, and
// removes bridge, cables and directory; it works on a cluster of another process too.
func Down(ctx context.Context, dir string) error {
	c := &Cluster{Dir: dir}
	if b, err := os.ReadFile(c.file()); err == nil {
		if err := json.Unmarshal(b, c); err != nil {
			return fmt.Errorf("read %s: %w", c.file(), err)
		}
	}
	var errs []error
	for _, n := range c.Nodes { // any server will do
		conf := api.DefaultConfig()
		conf.Address, conf.SecretID = "http://"+n.IP+":4646", c.Secret
		client, err := api.NewClient(conf)
		if err != nil {
			return err
		}
		if leader, err := client.Status().Leader(); err == nil && leader != "" {
			errs = append(errs, (&Agent{Client: client}).StopJobs(ctx))
			break
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for wait := 0; wait < 50 && c.signal(sig, wait == 0) > 0; wait++ {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if _, err := os.Stat("/sys/class/net/" + c.bridge()); err == nil {
		errs = append(errs, ip("link del "+c.bridge()))
	}
	return errors.Join(append(errs, Sweep(dir))...)
}

// signal counts the processes of the machines, and sends them sig when told.
func (c *Cluster) signal(sig syscall.Signal, send bool) (n int) {
	ours := map[string]bool{}
	self, _ := os.Readlink("/proc/self/ns/net")
	for _, node := range c.Nodes {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", node.Keeper))
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", node.Keeper)); err == nil && ns != self && strings.HasPrefix(string(comm), "sleep") {
			ours[ns] = true
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	var keepers []int
	for _, p := range procs {
		if ns, err := os.Readlink(p + "/ns/net"); err != nil || !ours[ns] {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(p))
		if keeper(c.Nodes, pid) {
			keepers = append(keepers, pid)
			continue
		}
		n++
		if send {
			_ = syscall.Kill(pid, sig)
		}
	}
	if n == 0 { // the namespaces are known by their keepers, which go last
		for _, pid := range keepers {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return n
}

func keeper(nodes []*Node, pid int) bool {
	for _, n := range nodes {
		if n.Keeper == pid {
			return true
		}
	}
	return false
}
