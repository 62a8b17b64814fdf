"""A zygote for tests: no interpreter to warm, children that misbehave as they are told."""

import array
import json
import os
import socket
import struct
import sys
import time

sys.path.insert(0, "/prairie")
import seal

conn = 3


def frame(payload):
    os.write(conn, struct.pack("<I", len(payload)) + payload)


def read_frame():
    head = os.read(conn, 4)
    if len(head) < 4:
        os._exit(0)
    n = struct.unpack("<I", head)[0]
    data = b""
    while len(data) < n:
        data += os.read(conn, n - len(data))
    return data


def act(how):
    if how == "lie":  # announces four gigabytes
        os.write(conn, b"\xff\xff\xff\xffx")
    elif how == "partial":
        os.write(conn, struct.pack("<I", 100) + b"half")
        os._exit(0)
    elif how == "slow":  # a byte at a time
        for b in struct.pack("<I", 3) + b"abc":
            os.write(conn, bytes([b]))
            time.sleep(0.02)
    elif how == "drip":  # never done
        os.write(conn, struct.pack("<I", 1000))
        while True:
            os.write(conn, b"x")
            time.sleep(0.05)
    elif how == "flood":
        while True:
            os.write(1, b"y" * 65536)
    elif how == "floodresult":
        os.write(conn, struct.pack("<I", 1 << 20))
        while True:
            os.write(conn, b"z" * 65536)
    elif how == "eof":
        os.close(conn)
        time.sleep(100)
    elif how == "holder":  # a stopped grandchild that holds the outputs
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        frame(b"answered")
        os._exit(0)
    elif how == "exit":
        os.write(2, b"leaving")
        os._exit(7)
    elif how == "signal":
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
        while True:
            pass
    elif how == "memory":
        hog = [bytearray(b"m" * (1 << 20)) for _ in range(4096)]
        frame(str(len(hog)).encode())
    elif how == "stopped":
        if os.fork() == 0:
            os.kill(os.getpid(), 19)
        time.sleep(0.05)
        frame(b"answered")
        os._exit(0)
    elif how == "say":
        os.write(1, b"said")
        frame(b"answered")
    elif how == "two":
        frame(b"one")
        frame(b"two")
    elif how == "status":
        frame(open("/proc/self/status").read().encode() + ("uid_map: " + open("/proc/self/uid_map").read()).encode())
    elif how == "course":
        names = []
        for d, _, files in os.walk("/course"):
            names += [os.path.join(d, f) for f in files]
        frame(json.dumps(sorted(names)).encode())
    else:
        frame(b"echo " + how.encode())


def child(sealer, spec, fds):
    try:
        at = spec["attach"]
        sealer.seal(spec, fds[3], fds[4 : 4 + at], fds[4 + at + spec["into"] :])
        high = [os.dup(fds[i]) for i in range(3)]
        for i, fd in zip((3, 1, 2), high):
            os.dup2(fd, i)
        os.closerange(4, 1 << 16)
        frame(b"ready")
        while True:
            act(read_frame().decode())
    except BaseException as e:
        os.write(2, repr(e).encode())
    finally:
        os._exit(1)


ctl = socket.socket(fileno=4)
walls = json.loads(ctl.recv(1 << 16))
sealer = seal.Sealer(walls["walls"])
sealer.harden_zygote()
sealer.refuse_threads()
ctl.send(b'{"ready":true}')
while True:
    ints = array.array("i")
    msg, anc, _, _ = ctl.recvmsg(1 << 16, 4096)
    if not msg:
        break
    for _, _, data in anc:
        ints.frombytes(data)
    spec = json.loads(msg)
    how = (spec.get("hello") or {}).get("zygote")
    if how == "die":
        os._exit(9)
    if how == "refuse":
        ctl.send(b'{"error":"no"}')
        continue
    if how == "garbage":
        ctl.send(b"\x00\xff{")
        continue
    if how == "nofd":
        ctl.send(b'{"pid":1}')
        continue
    pid, pidfd = sealer.fork(ints[4 + spec["attach"]] if spec["into"] else -1)
    if pid == 0:
        child(sealer, spec, list(ints))
    if how == "diemid":
        os._exit(9)
    socket.send_fds(ctl, [b'{"pid":%d}' % pid], [pidfd])
    os.close(pidfd)
    for fd in ints:
        os.close(fd)
