package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Config is a Host's configuration. The zero value works as root, and inside
// EnterUserns where cgroups are delegated.
type Config struct {
	Tier    Tier   // the tier to insist on; "" takes the best of root and userns
	Slots   int    // most sandboxes at once, spares included; 64 when 0
	Stages  int    // started ahead for programs, once there are some; 2 when 0, none when negative
	BaseUID int    // slot i runs as user and group BaseUID+i in tier root; 64000 when 0
	Cgroup  string // the cgroup to work below, in every tree; "" is this process's own
	Dir     string // where to make small working directories; the system's temporary one when ""
	Log     zerolog.Logger

	weaken func(*Host) // nil but in tests of what each layer stops; see weaken.go
}

// Host is this machine as a place for sandboxes. It is safe for concurrent use.
type Host struct {
	cfg     Config
	tier    Tier
	walls   walls
	raises  bool // see priority.go
	nice    int32
	fixed   []rlimit
	cg      *cgroups // nil in tier reduced
	dir     string
	slots   int // made
	free    chan *slot
	ready   readyStages
	wanted  atomic.Int32 // who waits for a slot
	spawner *thread      // forks everything: parent-death signals follow this thread
	mounter *thread      // enters sandboxes' mount namespaces
	scratch *thread      // has mounts of its own, for Scratch

	scratches atomic.Int64 // made so far; they are named by it
	ownNS     *os.File
	ownRoot   *os.File
	locks     []*os.File // on our directories; see sweep.go

	forking sync.RWMutex // held while a child exists whose pid nobody knows

	mu          sync.Mutex // guards the fields below
	quarantined int
	children    map[int]int // of the spawner, by pid: how many of that number are not yet forgotten
}

// slot is what one sandbox at a time has to itself.
type slot struct {
	index int
	uid   int
	net   *os.File
	cg    *slotCgroup // nil in tier reduced
}

// Open prepares the slots and clears away what a worker that died left behind.
// It fails where a layer of the tier asked for is missing, and names the remedy.
func Open(cfg Config) (*Host, error) {
	if cfg.Slots == 0 {
		cfg.Slots = 64
	}
	if cfg.Stages == 0 {
		cfg.Stages = usualStages
	}
	if cfg.BaseUID == 0 {
		cfg.BaseUID = 64000
	}
	tier, err := detectTier()
	if err != nil {
		return nil, err
	}
	if cfg.Tier == TierReduced && tier == TierUserns {
		tier = TierReduced
	}
	if cfg.Tier != "" && cfg.Tier != tier {
		return nil, fmt.Errorf("tier %s was asked for, this process can give %s", cfg.Tier, tier)
	}
	h := &Host{cfg: cfg, tier: tier, fixed: fixedRlimits, free: make(chan *slot, cfg.Slots), children: map[int]int{}}
	h.ready.host, h.ready.most = h, cfg.Stages
	for _, step := range []func() error{h.openWalls, h.openDir, h.openCgroups, h.openThreads, h.openSlots} {
		if err := step(); err != nil {
			h.Close()
			return nil, fmt.Errorf("prepare sandboxes (tier %s): %w", tier, err)
		}
	}
	h.raises, h.nice = mayRaise(tier), niceness()
	if cfg.weaken != nil {
		cfg.weaken(h)
	}
	return h, nil
}

func (h *Host) openWalls() (err error) {
	h.walls.Userns = h.tier != TierRoot
	h.walls.Clone = unix.CLONE_NEWPID
	h.walls.Unshare = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	h.walls.Landlock = newLandlockPolicy(landlockABI())
	if h.walls.LastCap, err = lastCap(); err != nil {
		return err
	}
	if h.walls.Seccomp, err = newSeccompPolicy(h.tier != TierReduced); err != nil {
		return err
	}
	return canKill()
}

// canKill proves, on ourselves and with signal 0, that a sandbox could be killed
// by its pidfd.
func canKill() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("open a pidfd: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return fmt.Errorf("signal a pidfd: %w", err)
	}
	return nil
}

const dirPrefix = "prairielambda-worker-"

// openDir makes our working directory; its name carries our process, so that a
// later worker knows when it is nobody's.
func (h *Host) openDir() error {
	base := h.cfg.Dir
	if base == "" {
		base = os.TempDir()
	}
	h.sweepDirs(base)
	// The end is of its own: two Hosts of one process share no cgroup.
	name := dirPrefix + strconv.Itoa(os.Getpid()) + "-" + startTime(os.Getpid()) + "-"
	var err error
	if h.dir, err = os.MkdirTemp(base, name); err != nil {
		return err
	}
	h.locks = append(h.locks, lockDir(h.dir))
	return os.Mkdir(filepath.Join(h.dir, "root"), 0o700)
}

func (h *Host) openCgroups() (err error) {
	if h.tier == TierReduced {
		return nil
	}
	h.sweepCgroups()
	if h.cg, err = openCgroups(filepath.Base(h.dir), h.cfg.Cgroup); err != nil {
		return fmt.Errorf("%w; start under `systemd-run --user --scope -p Delegate=yes`, name a delegated cgroup "+
			"with --cgroup, or accept --tier reduced on your own machine", err)
	}
	for _, dir := range h.cg.v1 {
		h.locks = append(h.locks, lockDir(dir))
	}
	if h.cg.v2 != "" {
		h.locks = append(h.locks, lockDir(h.cg.v2))
	}
	return nil
}

func (h *Host) openThreads() (err error) {
	if h.ownNS, err = os.Open("/proc/self/ns/mnt"); err != nil {
		return err
	}
	if h.ownRoot, err = os.Open("/"); err != nil {
		return err
	}
	if h.spawner, err = newThread(func() error { return nil }); err != nil {
		return err
	}
	if h.mounter, err = newThread(func() error { return unix.Unshare(unix.CLONE_FS) }); err != nil {
		return err
	}
	h.scratch, err = newThread(h.ownMounts)
	return err
}

func (h *Host) openSlots() error {
	for i := range h.cfg.Slots {
		s := &slot{index: i, uid: h.cfg.BaseUID + i}
		var err error
		if s.net, err = newNetns(); err != nil {
			return err
		}
		if h.cg != nil {
			if s.cg, err = h.cg.slot(i); err != nil {
				s.net.Close()
				return err
			}
		}
		h.free <- s
		h.slots++
	}
	return nil
}

// Tier is the tier in force.
func (h *Host) Tier() Tier { return h.tier }

// Layers lists the walls that not every machine has.
func (h *Host) Layers() []Layer {
	memfd := "delegate a cgroup: systemd-run --user --scope -p Delegate=yes"
	return []Layer{
		{Name: "own user id per slot", On: h.tier == TierRoot, Remedy: "run the worker as root"},
		{Name: "memory and process limits by cgroup", On: h.cg != nil, Remedy: memfd},
		{Name: "landlock", On: h.walls.Landlock.ABI > 0, Remedy: "a kernel with CONFIG_SECURITY_LANDLOCK and landlock in its lsm= list"},
		{Name: "landlock network rules", On: h.walls.Landlock.ABI >= 4, Remedy: "Linux 6.7 or newer"},
		{Name: "landlock scopes", On: h.walls.Landlock.ABI >= 6, Remedy: "Linux 6.12 or newer"},
		{Name: "cgroup.kill", On: h.cg != nil && h.cg.v2 != "", Remedy: "Linux 5.14 or newer with a cgroup2 tree"},
	}
}

// Slots says how many slots there are, how many are free, and how many had to be
// given up because a process in them would not die.
func (h *Host) Slots() (total, free, quarantined int) {
	waiting := h.ready.count() // in slots that are anybody's who asks
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cfg.Slots, len(h.free) + waiting, h.quarantined
}

// errNoSlot is what acquire answers when it may not wait.
var errNoSlot = errors.New("every sandbox slot is in use")

// acquire takes a slot, waiting for one until ctx ends.
func (h *Host) acquire(ctx context.Context) (*slot, error) {
	select {
	case s := <-h.free:
		return s, nil
	default:
	}
	h.wanted.Add(1)
	defer h.wanted.Add(-1)
	for h.ready.yield() {
		select {
		case s := <-h.free:
			return s, nil
		default: // somebody was faster
		}
	}
	select {
	case s := <-h.free:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNoSlot, context.Cause(ctx))
	}
}

// release gives a slot back that nothing lives in, but what may still be dying.
func (h *Host) release(s *slot) {
	err := h.renew(s)
	switch {
	case err == nil:
		h.free <- s
	case errors.Is(err, unix.EBUSY):
		h.quarantine(1)
		h.cfg.Log.Warn().Err(err).Int("slot", s.index).Msg("what was killed in a slot does not die; it is out of use until it does")
		go func() {
			for errors.Is(err, unix.EBUSY) {
				err = h.renew(s)
			}
			h.quarantine(-1)
			if err == nil {
				h.free <- s
				return
			}
			h.lose(err)
		}()
	default:
		h.lose(err)
	}
}

func (h *Host) renew(s *slot) (err error) {
	if s.cg != nil {
		s.cg, err = h.cg.renew(s.index, s.cg)
	}
	return err
}

func (h *Host) lose(err error) {
	h.quarantine(1)
	h.cfg.Log.Error().Err(err).Msg("a slot is out of use for good")
}

// Close ends what the Host prepared. The caller has closed every Box and Zygote.
func (h *Host) Close() {
	h.ready.clear(true)
	for _, t := range []*thread{h.spawner, h.mounter, h.scratch} {
		if t != nil {
			t.close()
		}
	}
	h.takeBack()
	if h.cg != nil {
		h.cg.remove()
	}
	for _, f := range append(h.locks, h.ownNS, h.ownRoot) {
		if f != nil {
			f.Close()
		}
	}
	if h.dir != "" {
		_ = os.Remove(filepath.Join(h.dir, "root"))
		_ = os.Remove(h.dir)
	}
}

// takeBack closes the slots. That of a sandbox which was closed and takes long to die
// comes late; it is waited for as long as that may take.
func (h *Host) takeBack() {
	late := time.After(stuckAfter)
	for range h.slots {
		select {
		case s := <-h.free:
			s.net.Close()
			if s.cg != nil {
				s.cg.close()
			}
		case <-late:
			return
		}
	}
}

// startTime is when process pid started, in clock ticks since boot, or "" when
// there is none. With the pid it names a process for good.
func startTime(pid int) string { return procStat(pid, 22) }

// procStat is a field of /proc/PID/stat by its number in proc(5), from the third on,
// or "" when there is no such process.
func procStat(pid, field int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is a file name in parentheses and may hold anything.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < field-2 {
		return ""
	}
	return f[field-3]
}
