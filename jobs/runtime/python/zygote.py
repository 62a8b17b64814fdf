"""The Python runtime's zygote: a warm interpreter that forks a sealed child for each sandbox.

Started with its control socket as descriptor 4. It never runs course code and
refuses to be process 1 or to have threads; see jobs/sandbox/zygote.go for the
protocol with the worker. A child speaks frames (a little-endian length of four
bytes, then JSON) on descriptor 3: first {"ready": true}, then one answer a call.
"""

import sys

sys.path.insert(0, "/prairie")

import array
import fcntl
import gc
import json
import os
import random
import resource
import socket
import struct
import traceback

import exercise
import heap
import seal
from prairie import session, slate

_MAX_MESSAGE = 64 << 10
_MAX_FDS = 250
_SCRATCH = ("/tmp", "/dev/shm")  # of a sealed child, empty when it began


def _receive(sock):
    fds = array.array("i")
    msg, anc, _, _ = sock.recvmsg(_MAX_MESSAGE, socket.CMSG_SPACE(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in anc:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return msg, list(fds)


def _read_exactly(fd, n):
    parts = []
    while n:
        b = os.read(fd, min(n, 1 << 20))
        if not b:
            return None
        parts.append(b)
        n -= len(b)
    return b"".join(parts)


def _read_frame(fd):
    head = _read_exactly(fd, 4)
    return head and _read_exactly(fd, struct.unpack("<I", head)[0])


def _write_frame(fd, payload):
    view = memoryview(struct.pack("<I", len(payload)) + payload)
    while view:
        view = view[os.write(fd, view) :]


def _fresh_randomness():
    """Nothing random may be shared by two children of one interpreter."""
    random.seed()
    if "sympy" in sys.modules:
        sys.modules["sympy.core.random"].rng.seed(int.from_bytes(os.urandom(32), "little"))
    if "numpy" in sys.modules:
        # In full entropy; numpy's global generator is otherwise equal in all forks. Its state is
        # set, not made from a seed: that is less work, on pages that warming touches, too.
        numpy = sys.modules["numpy"]
        numpy.random.set_state(("MT19937", numpy.frombuffer(os.urandom(4 * 624), numpy.uint32), 624))
    if "tempfile" in sys.modules:
        sys.modules["tempfile"]._name_sequence = None
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)


def _place(conn, out, err):
    """Gives the child its standard descriptors and drops every other one."""
    null = os.open("/dev/null", os.O_RDONLY)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in (null, out, err, conn)]
    for i, fd in enumerate(high):
        os.dup2(fd, i, inheritable=i < 3)
    os.closerange(4, 1 << 16)


def _serve(spec, code):
    """The child's whole life after sealing."""
    conn = 3
    hello = spec.get("hello") or {}
    if hello.get("compile"):  # trusted work on the whole version, for all who come after
        _write_frame(conn, session.pack_code(session.compile_course("/course")))
        return
    if code:
        session.unpack_code(code)
    s = blank = None
    if hello.get("warm"):
        session.warm()
    if "session" in hello:  # its question is known, and mounted
        s = session.Session(hello["session"])
        s.foresee()
    if hello:
        gc.freeze()  # no call should walk what is here now; looking for garbage first would touch more than it frees
    _write_frame(conn, b'{"ready":true}')
    while True:
        raw = _read_frame(conn)
        if raw is None:
            return
        req = session.decode(raw)
        for name, value in (req.get("rlimits") or {}).items():
            which = getattr(resource, "RLIMIT_" + name)
            resource.setrlimit(which, (value, value))
        if req.get("again"):  # a session of its own, in the process of the last one
            if s is None:
                blank = slate.Slate(req["session"]["course"], _SCRATCH)
            else:
                blank.wipe()
            s = session.Session(req["session"], s)
        if s is None:
            s = session.Session(req["session"])
        if "executor" in req:
            answer = s.executor(req["executor"])
            _flush()
            _write_frame(conn, session.encode(answer))
            continue
        data = req.get("data")
        if not s.seed(data) and req.get("again"):
            slate.scatter()
        for call in req["calls"]:
            answer = s.call(call, data)
            _flush()
            if answer["outcome"] == "ok" and "data" in answer:
                data = answer["data"]
            if req.get("again") and slate.spent():
                answer["spent"] = True
            _write_frame(conn, session.encode(answer))
            if answer["outcome"] != "ok" and req.get("stop_on_error"):
                break


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # course code may have closed or replaced it
            pass


def _child(sealer, spec, fds):
    code = 1
    try:
        conn, out, err, net = fds[:4]
        attach = fds[4 : 4 + spec["attach"]]
        mounts = fds[4 + spec["attach"] + spec["into"] :]
        code = os.pread(fds[-1], os.fstat(fds[-1]).st_size, 0) if spec.get("code") else b""
        sealer.seal(spec, net, attach, mounts)
        _place(conn, out, err)
        _fresh_randomness()
        _serve(spec, code)
        code = 0
    except BaseException as fault:
        if type(fault).__name__ == "StoreError":
            code = 74  # the worker looks for itself; see pool/sick.go
        try:
            os.write(2, traceback.format_exc().encode())
        except OSError:
            pass
    finally:
        os._exit(code)


def main():
    ctl = socket.socket(fileno=4)
    msg, _ = _receive(ctl)
    conf = json.loads(msg)
    if os.getpid() == 1:
        raise SystemExit("zygote: refuses to be process 1: its children would share random state")
    # Results that sympy remembers of each function, 1000 by itself: a full memory drops one for
    # each that a child adds, on a page that was shared.
    os.environ["SYMPY_CACHE_SIZE"] = "2000"
    for name in (conf.get("init") or {}).get("preload") or ():
        try:
            __import__(name)
        except ImportError:
            pass
    del os.environ["SYMPY_CACHE_SIZE"]
    exercise.exercise(11)
    session.preload()
    _fresh_randomness()  # sets OpenSSL's generator up once; a child only reseeds it
    sealer = seal.Sealer(conf["walls"])
    sealer.harden_zygote()
    sys.path.remove("/prairie")
    for name in [n for n in sys.modules if n.partition(".")[0] in ("prairie", "seal", "exercise", "heap")]:
        del sys.modules[name]  # courses may have modules of the same names
    sealer.refuse_threads()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # what was printed is not lost when a limit ends the child
    gc.collect()
    gc.freeze()
    heap.fill()
    ctl.send(b'{"ready":true}')
    while True:
        msg, fds = _receive(ctl)
        if not msg:
            return
        spec = json.loads(msg)
        try:
            pid, pidfd = sealer.fork(fds[4 + spec["attach"]] if spec["into"] else -1)
        except OSError as e:
            for fd in fds:
                os.close(fd)
            ctl.send(json.dumps({"error": str(e)}).encode())
            continue
        if pid == 0:
            _child(sealer, spec, fds)
        socket.send_fds(ctl, [b'{"pid":%d}' % pid], [pidfd])
        os.close(pidfd)
        for fd in fds:
            os.close(fd)


main()
