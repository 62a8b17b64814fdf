def _libc(name, *args):
    if getattr(libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), name)

def descriptors():
    return sorted(int(f) for f in os.listdir("/proc/self/fd"))[:-1]

def descriptor_targets():
    return [os.readlink("/proc/self/fd/%d" % f).split(":")[0] for f in range(4)]

def overwrite_interpreter():
    open("/proc/self/exe", "r+b")

def overwrite_interpreter_by_path():
    os.open(os.path.realpath("/proc/self/exe"), os.O_WRONLY)

def upgrade_o_path():
    fd = os.open(__file__, os.O_PATH)
    open("/proc/self/fd/%d" % fd, "w")

def pass_descriptors_up():
    with socket.socket(fileno=os.dup(3)) as s:
        socket.send_fds(s, [b"\x02\0\0\0{}"], [os.open("/", os.O_RDONLY), 0, 1, 2])

def pidfd_getfd():
    call(438, os.pidfd_open(1), 3, 0)

def ptrace_init():
    call(101, 16, 1, 0, 0)

def ptrace_traceme():
    call(101, 0, 0, 0, 0)

def process_vm_readv():
    call(310, 1, 0, 0, 0, 0, 0)

def process_vm_writev():
    call(311, 1, 0, 0, 0, 0, 0)

def kcmp():
    call(312, 1, 1, 0, 0, 0)

def write_proc_sys():
    open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x")

def sysrq():
    open("/proc/sysrq-trigger", "w").write("b")

def read_kcore():
    open("/proc/kcore", "rb")

def read_kallsyms():
    return open("/proc/kallsyms").read(100)

def see_processes():
    return [d for d in os.listdir("/proc") if d.isdigit()]

def own_pid():
    return os.getpid()

def proc_one_root():
    return sorted(os.listdir("/proc/1/root"))

def dump_core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

def abort_with_core():
    os.abort()

def syslog():
    call(103, 3, ctypes.create_string_buffer(100), 100)

def remount_course():
    _libc("mount", None, b"/course", None, ctypes.c_ulong(32 | 4096), None)

def remount_root():
    _libc("mount", None, b"/", None, ctypes.c_ulong(32), None)

def mount_tmpfs():
    _libc("mount", b"t", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None)

def mount_proc():
    _libc("mount", b"proc", b"/tmp", b"proc", ctypes.c_ulong(0), None)

def bind_mount():
    _libc("mount", b"/usr", b"/tmp", None, ctypes.c_ulong(4096), None)

def umount_proc():
    _libc("umount2", b"/proc", 2)

def umount_course():
    _libc("umount2", b"/course", 2)

def pivot_root():
    call(155, b"/tmp", b"/tmp")

def open_tree():
    call(428, -100, b"/", 1)

def move_mount():
    call(429, -100, b"/tmp", -100, b"/course", 0)

def fsopen():
    call(430, b"tmpfs", 0)

def fspick():
    call(433, -100, b"/", 0)

def mount_setattr():
    call(442, -100, b"/course", 0, ctypes.create_string_buffer(32), 32)

def statmount():
    call(457, 0, 0, 0, 0)

def listmount():
    call(458, 0, 0, 0, 0)

def unshare_user():
    _libc("unshare", 0x10000000)

def unshare_mounts():
    _libc("unshare", 0x20000)

def unshare_network():
    _libc("unshare", 0x40000000)

def clone_user_namespace():
    pid = call(56, 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid

def clone3():
    pid = call(435, ctypes.create_string_buffer(struct.pack("<11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)), 88)
    if pid == 0:
        os._exit(0)
    return pid

def setns():
    _libc("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)

def x32_numbers():
    return call(0x40000000 | 39)

def int_0x80():
    import mmap
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    at = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(at)()

def unknown_numbers():
    answered = []
    for nr in list(range(470, 1024)) + [0x40000000 | n for n in range(520, 548)] + [-1, 1 << 31, 1 << 20]:
        libc.syscall(ctypes.c_long(nr), 0, 0, 0, 0, 0, 0)
        if ctypes.get_errno() != 38:
            answered.append(nr)
    return answered

def add_key():
    call(248, b"user", b"x", b"y", 1, -3)

def request_key():
    call(249, b"user", b"x", 0, -3)

def keyctl():
    call(250, 0, -3, 0)

def bpf():
    call(321, 0, ctypes.create_string_buffer(128), 128)

def perf_event_open():
    call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)

def userfaultfd():
    call(323, 1)

def io_uring():
    call(425, 8, ctypes.create_string_buffer(120))

def io_setup():
    call(206, 8, ctypes.byref(ctypes.c_ulong(0)))

def fanotify():
    call(300, 0, 0)

def inotify():
    call(294, 0)

def quotactl():
    call(179, 0, 0, 0, 0)

def swapon():
    call(167, b"/tmp/x", 0)

def acct():
    call(163, 0)

def reboot():
    call(169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)

def kexec():
    call(246, 0, 0, 0, 0)

def init_module():
    call(175, 0, 0, b"")

def finit_module():
    call(313, 0, b"", 0)

def iopl():
    call(172, 3)

def ioperm():
    call(173, 0, 8, 1)

def modify_ldt():
    call(154, 0, ctypes.create_string_buffer(16), 16)

def personality():
    call(135, 0x0040000)

def set_clock():
    time.clock_settime(time.CLOCK_REALTIME, 0)

def adjust_clock():
    call(159, ctypes.create_string_buffer(208))

def set_hostname():
    socket.sethostname("evil")

def set_domainname():
    call(171, b"evil", 4)

def become_root():
    os.setuid(0)

def become_another():
    os.setresuid(64001, 64001, 64001)

def set_groups():
    os.setgroups([0])

def gain_capabilities():
    call(126, ctypes.create_string_buffer(struct.pack("<II", 0x20080522, 0)), ctypes.create_string_buffer(b"\xff" * 24))

def capabilities():
    s = open("/proc/self/status").read()
    return [l.split()[1] for l in s.splitlines() if l.startswith("Cap")]

def second_seccomp():
    call(317, 1, 0, 0)

def prctl_seccomp():
    call(157, 22, 1)

def prctl_mm():
    call(157, 35, 1, 0, 0, 0)

def prctl_keepcaps():
    call(157, 8, 1, 0, 0, 0)

def landlock_again():
    call(444, 0, 0, 1)

def push_terminal_input():
    import fcntl
    fcntl.ioctl(0, 0x5412, b"x")

def raise_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

def lower_nice():
    os.setpriority(os.PRIO_PROCESS, 0, -20)

def realtime():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

def lock_memory():
    libc.mlockall(3) == 0 or (_ for _ in ()).throw(PermissionError("mlockall"))

def vhangup():
    call(153)

def mbind():
    call(237, 0, 4096, 0, 0, 0, 0)

def cachestat():
    call(451, os.open(__file__, os.O_RDONLY), 0, 0, 0)

def mincore():
    call(27, 0, 4096, 0)
