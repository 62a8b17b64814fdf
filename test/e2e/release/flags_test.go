package release

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// flags are what comes between `docker run` and the image's name.
type flags struct {
	name       string
	privileged bool // --privileged --cgroupns=private
	fuse       bool // --device /dev/fuse
}

var (
	privileged = flags{"privileged", true, true}
	least      = flags{"least", false, true}
	noFUSE     = flags{"no-fuse", false, false}
)

// What Docker gives a container that asks for nothing, and hides from it.
var (
	theirCaps = strings.Fields(`CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`)
	hidden    = strings.Fields(`/proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware`)
	readOnly  = strings.Fields(`/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger`)
	allCaps   = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
		NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
		MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)  // in the kernel's order
)

type object = map[string]any

// spec is runc's configuration for an image's and the flags: no seccomp, no
// AppArmor, the course read-only, and the cgroup trees writable.
func (c *container) spec(t *testing.T, f flags, cgroup string, args []string) []byte {
	t.Helper()
	caps, sys, spaces := append([]string{"SYS_ADMIN"}, theirCaps...), "ro", []string{"pid", "ipc", "uts", "mount", "network"}
	if f.privileged {
		caps, sys, spaces = ours(t), "rw", append(spaces, "cgroup")
	}
	named := make([]string, len(caps))
	for i, c := range caps {
		named[i] = "CAP_" + c
	}
	mounts := []object{
		mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", sys),
		mount("/course", "bind", c.course, "rbind", "ro"),
	}
	linux := object{"cgroupsPath": cgroup}
	devices := []object{{"allow": true, "access": "rwm"}}
	if f.privileged {
		mounts = append(mounts, mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "rw"))
	} else {
		mounts = append(mounts, mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", "rbind", "rw"))
		linux["maskedPaths"], linux["readonlyPaths"] = hidden, readOnly
		devices = []object{{"allow": false, "access": "rwm"}} // runc adds the devices that every container has
	}
	if f.fuse {
		linux["devices"] = []object{{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}}
		devices = append(devices, object{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
	}
	mounts = append(mounts, c.debian...)
	var all []object
	for _, s := range spaces {
		all = append(all, object{"type": s})
	}
	linux["namespaces"], linux["resources"] = all, object{"devices": devices}
	b, err := json.Marshal(object{
		"ociVersion": "1.0.2", "hostname": "prairie", "root": object{"path": c.root}, "mounts": mounts, "linux": linux,
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": c.config.Config.WorkingDir, "env": c.config.Config.Env, "args": append(c.config.Config.Entrypoint[:1:1], args...),
			"capabilities": object{"bounding": named, "effective": named, "permitted": named},
		},
	})
	require.NoError(t, err)
	return b
}

// debian stands for the packages of an image that has none: this machine's, read-only.
func debian() (mounts []object) {
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc"} {
		if _, err := os.Stat(dir); err == nil {
			mounts = append(mounts, mount(dir, "bind", dir, "rbind", "ro"))
		}
	}
	return mounts
}

func mount(to, kind, from string, options ...string) object {
	return object{"destination": to, "type": kind, "source": from, "options": options}
}

// ours are the capabilities that this process can give away: all, on most machines.
func ours(t *testing.T) (caps []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, hex, found := strings.Cut(string(b), "CapBnd:\t")
	require.True(t, found)
	hex, _, _ = strings.Cut(hex, "\n")
	set, err := strconv.ParseUint(hex, 16, 64)
	require.NoError(t, err)
	for i, c := range allCaps {
		if set>>i&1 == 1 {
			caps = append(caps, c)
		}
	}
	return caps
}
