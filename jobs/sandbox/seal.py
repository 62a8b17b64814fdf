"""Forks a child out of a warm interpreter and closes it off.

The same steps in the same order as seal.go, on libc through ctypes: what runs
here runs in a fork of a process that has one thread, holds no course code, and
whose root already is the sandbox's read-only one. Every step that fails raises,
and the child then ends before any course code exists in it.
"""

import base64
import ctypes
import os
import resource

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: the interpreter's lock stays held across clone3
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_api = ctypes.pythonapi

NEWUSER, NEWNET = 0x10000000, 0x40000000
_PIDFD, _PARENT, _CHILD_SETTID, _CHILD_CLEARTID = 0x1000, 0x8000, 0x01000000, 0x00200000
_INTO_CGROUP = 0x200000000
_NOSUID, _NODEV, _NOEXEC, _RDONLY, _REMOUNT, _BIND = 2, 4, 8, 1, 32, 4096
_DETACH = 2
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100

if os.uname().machine == "x86_64":
    _NR = {"seccomp": 317, "capset": 126}
else:  # the generic table
    _NR = {"seccomp": 277, "capset": 91}
# The same on every architecture since they were added.
_NR.update(move_mount=429, clone3=435, landlock_create_ruleset=444, landlock_add_rule=445, landlock_restrict_self=446)


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (n, ctypes.c_uint64)
        for n in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
            "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


class _Fprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("fd", ctypes.c_int32)]


def _check(result, what):
    if result < 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (what, os.strerror(e)))
    return result


def _call(name, *args):
    return _check(_syscall(ctypes.c_long(_NR[name]), *args), name)


def _long(v):
    return ctypes.c_long(v)


class Sealer:
    """Everything that can be made ready before a fork."""

    def __init__(self, walls):
        self.userns = walls["userns"]
        self.clone_flags = walls["clone"]
        self.unshare_flags = walls["unshare"]
        self.last_cap = walls["last_cap"]
        self.abi = walls["landlock"]["abi"]
        self.attr = base64.b64decode(walls["landlock"]["attr"] or "")
        self.rules = [(r["path"], r["access"]) for r in walls["landlock"]["rules"] or ()]
        self.base = self._program(walls["seccomp"]["base"])
        self.last = self._program(walls["seccomp"]["seal"])
        self.pidfd = ctypes.c_int(-1)
        self.args = _CloneArgs()
        # glibc keeps the thread id in its own memory; a raw clone must have the
        # kernel store the child's there, or raise() and robust locks aim at the parent.
        tid = ctypes.c_uint64()
        _check(_libc.prctl(40, ctypes.byref(tid), 0, 0, 0), "PR_GET_TID_ADDRESS")
        self.args.child_tid = tid.value
        self.args.pidfd = ctypes.addressof(self.pidfd)
        self.no_caps = (ctypes.c_uint32 * 6)()
        self.cap_header = (ctypes.c_uint32 * 2)(0x20080522, 0)

    @staticmethod
    def _program(encoded):
        raw = base64.b64decode(encoded)
        buf = ctypes.create_string_buffer(raw, len(raw))
        prog = _Fprog(len(raw) // 8, ctypes.addressof(buf))
        prog.keep = buf
        return prog

    def harden_zygote(self):
        """Once, in the zygote: what every child inherits and sealing does not need."""
        self._drop_bounding_set()
        _check(_libc.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        _call("seccomp", _long(1), _long(0), ctypes.byref(self.base))

    def _drop_bounding_set(self):
        for cap in range(self.last_cap + 1):
            _check(_libc.prctl(24, cap, 0, 0, 0), "PR_CAPBSET_DROP")

    @staticmethod
    def refuse_threads():
        """A fork copies one thread and the locks of all: unshare(CLONE_THREAD)
        fails in a process that has more than one."""
        _check(_libc.unshare(0x10000), "fork with threads alive")

    def fork(self, cgroup):
        """Returns (pid, pidfd) in the zygote and (0, -1) in the child, which is
        process 1 of its own namespace and a child of the zygote's own parent."""
        a = self.args
        a.flags = self.clone_flags | _PIDFD | _PARENT | _CHILD_SETTID | _CHILD_CLEARTID
        a.cgroup = 0
        if cgroup >= 0:
            a.flags |= _INTO_CGROUP
            a.cgroup = cgroup
        _api.PyOS_BeforeFork()
        pid = _syscall(_long(_NR["clone3"]), ctypes.byref(a), _long(ctypes.sizeof(a)))
        if pid == 0:
            _api.PyOS_AfterFork_Child()
            return 0, -1
        _api.PyOS_AfterFork_Parent()
        _check(pid, "clone3")
        return pid, self.pidfd.value

    def seal(self, spec, net, attach, mounts):
        """Once, in the child. The descriptors are closed by the caller's close_range."""
        # A session of its own: kill(0) reaches a whole process group, also across
        # pid namespaces, and would otherwise reach the zygote and every sibling.
        os.setsid()
        for fd in attach:
            os.write(fd, b"0")
        _check(_libc.setns(net, NEWNET), "setns")
        _check(_libc.unshare(self.unshare_flags), "unshare")
        self._mount(spec, mounts)
        _check(_libc.sethostname(b"sandbox", 7), "sethostname")
        self._drop(spec)
        self._landlock()
        _call("seccomp", _long(1), _long(0), ctypes.byref(self.last))

    def _mount(self, spec, mounts):
        def mount(source, target, kind, flags, data):
            _check(_libc.mount(source, target, kind, _long(flags), data), "mount " + target.decode())

        mount(b"proc", b"/proc", b"proc", _NOSUID | _NODEV | _NOEXEC, b"subset=pid")
        if self.userns:
            _check(_libc.umount2(b"/.proc", _DETACH), "detach the outer /proc")
        own = b"mode=1777,nr_inodes=16384,size=%d" % spec["files"]
        mount(b"tmpfs", b"/tmp", b"tmpfs", _NOSUID | _NODEV, own)
        mount(b"tmpfs", b"/dev/shm", b"tmpfs", _NOSUID | _NODEV, own)
        mount(b"tmpfs", b"/course", b"tmpfs", _NOSUID | _NODEV, b"mode=0755,nr_inodes=8192,size=4m")
        for fd, target in zip(mounts, spec["targets"] or ()):
            path = "/course/" + target
            os.makedirs(path, 0o755, exist_ok=True)
            _call("move_mount", _long(fd), b"", _long(_AT_FDCWD), path.encode(), _long(_MOVE_MOUNT_F_EMPTY_PATH))
        mount(None, b"/course", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV, None)

    def _drop(self, spec):
        if self.userns:
            # A namespace of its own, owned by nobody that matters: from here on
            # not even a full set of capabilities would reach the mounts above.
            uid, gid = os.getuid(), os.getgid()
            _check(_libc.unshare(NEWUSER), "unshare user namespace")
            for name, text in (("setgroups", "deny"), ("uid_map", "65534 %d 1" % uid), ("gid_map", "65534 %d 1" % gid)):
                with open("/proc/self/" + name, "w") as f:
                    f.write(text)
            self._drop_bounding_set()  # a new user namespace fills it again
        for r in spec["rlimits"]:
            resource.setrlimit(r["which"], (r["value"], r["value"]))
        if not self.userns:
            os.setgroups([])
            os.setresgid(spec["uid"], spec["uid"], spec["uid"])
            os.setresuid(spec["uid"], spec["uid"], spec["uid"])
        _call("capset", self.cap_header, self.no_caps)
        _check(_libc.prctl(1, 9, 0, 0, 0), "PR_SET_PDEATHSIG")
        _check(_libc.prctl(4, 1, 0, 0, 0), "PR_SET_DUMPABLE")

    def _landlock(self):
        if not self.abi:
            return  # the worker said at its start that this layer is missing
        rules = _call("landlock_create_ruleset", self.attr, _long(len(self.attr)), _long(0))
        for path, access in self.rules:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            beneath = _PathBeneath(access, fd)
            _call("landlock_add_rule", _long(rules), _long(1), ctypes.byref(beneath), _long(0))
            os.close(fd)
        _call("landlock_restrict_self", _long(rules), _long(0))
        os.close(rules)
