def kill_everyone():
    os.kill(-1, signal.SIGKILL)

def kill_group():
    os.kill(0, signal.SIGTERM)
    os.killpg(0, signal.SIGKILL)

def kill_zygote():
    refused = 0
    for pid in world["pids"]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            refused += 1
    if refused == len(world["pids"]):
        raise ProcessLookupError("all")

def stop_zygote():
    for pid in world["pids"]:
        os.kill(pid, signal.SIGSTOP)

def renice_user():
    os.setpriority(os.PRIO_USER, 0, 19)
    os.setpriority(os.PRIO_PGRP, 0, 19)

def host_tcp():
    socket.create_connection(("127.0.0.1", world["tcp"]), 1)

def host_tcp6():
    socket.create_connection(("::1", world["tcp"]), 1)

def host_udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"hello", ("127.0.0.1", world["udp"]))

def host_unix():
    socket.socket(socket.AF_UNIX).connect(world["unix"])

def host_abstract():
    socket.socket(socket.AF_UNIX).connect("\0" + world["abstract"])

def metadata():
    socket.create_connection(("169.254.169.254", 80), 1)

def any_egress():
    socket.create_connection(("1.1.1.1", 443), 1)

def dns():
    socket.getaddrinfo("example.org", 80)

def dns_raw():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"\0" * 20, ("8.8.8.8", 53))

def mptcp():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    s.connect(("127.0.0.1", world["tcp"]))

def multicast():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"x", ("224.0.0.1", 5000))

def listen_everywhere():
    s = socket.socket()
    s.bind(("0.0.0.0", 0))
    s.listen()
    socket.create_connection(s.getsockname(), 1)

def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)

def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)

def netlink_socket():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

def vsock_socket():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)

def alg_socket():
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)

def bluetooth_socket():
    socket.socket(31, socket.SOCK_RAW, 1)

def xdp_socket():
    socket.socket(44, socket.SOCK_RAW)

def loopback_up():
    import fcntl
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"lo", 1))

def interfaces():
    return [name for _, name in socket.if_nameindex()]

def host_shared_memory():
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(call(29, world["shm"], 0, 0), None, 0o10000)
    return ctypes.string_at(at, 20).decode()

def shmget():
    call(29, 0x5052, 4096, 0o1666)

def msgget():
    call(68, 0x5052, 0o1666)

def semget():
    call(64, 0x5052, 1, 0o1666)

def mq_open():
    call(240, b"evil", 0o100 | 2, 0o666, 0)

def flock_course():
    import fcntl
    fcntl.flock(os.open(__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return "the same whoever holds it"

def posix_lock_course():
    import fcntl
    fcntl.lockf(os.open(__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
    return "the same whoever holds it"

def who_holds_a_lock():
    import fcntl
    fcntl.fcntl(os.open(__file__, os.O_RDONLY), fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0) + b"\0" * 8)

def lease_course():
    import fcntl
    fcntl.fcntl(os.open(__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)

def notify_course():
    import fcntl
    fcntl.fcntl(os.open("/course", os.O_RDONLY), fcntl.F_NOTIFY, 2)

def host_name():
    return os.uname().nodename

def own_cgroup():
    return sorted({l.split(":", 2)[2] for l in open("/proc/self/cgroup").read().splitlines() if ":memory" in l or ":pids" in l})

def own_user():
    return [os.getuid(), os.geteuid(), os.getgroups()]
