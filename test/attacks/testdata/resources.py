def fork_bomb():
    while True:
        try:
            if os.fork() == 0:
                continue
        except OSError:
            pass

def thread_bomb():
    for _ in range(10000):
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()

def process_limit():
    n = 0
    try:
        while n < 1000:
            if os.fork() == 0:
                time.sleep(100)
            n += 1
    except OSError:
        pass
    return n

def anonymous_memory():
    hog = []
    while True:
        hog.append(bytearray(b"x" * (1 << 20)))

def shared_anonymous_memory():
    import mmap
    hog = []
    while True:
        m = mmap.mmap(-1, 8 << 20)
        m.write(b"x" * (8 << 20))
        hog.append(m)

def memory_in_children():
    for _ in range(20):
        if os.fork() == 0:
            hog = bytearray(b"x" * (60 << 20))
            time.sleep(100)
    time.sleep(100)

def hold_too_much_memory():
    hog = bytearray(b"x" * (1 << 20)) * 256
    return "held %d" % len(hog)

def tmp_memory():
    with open("/tmp/big", "wb") as f:
        while True:
            f.write(b"x" * (1 << 20))

def shm_memory():
    with open("/dev/shm/big", "wb") as f:
        while True:
            f.write(b"x" * (1 << 20))

def memfd_memory():
    fds = []
    while True:
        fd = os.memfd_create("x")
        os.write(fd, b"x" * (16 << 20))
        fds.append(fd)

def pipe_memory():
    ends = []
    while True:
        r, w = os.pipe()
        os.set_blocking(w, False)
        os.write(w, b"x" * (1 << 16))
        ends.append((r, w))

def inodes():
    for i in range(1000000):
        open("/tmp/i%d" % i, "w").close()

def directories_deep():
    os.chdir("/tmp")
    for _ in range(1000000):
        os.mkdir("d")
        os.chdir("d")

def sparse_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.truncate(os.open("/tmp/s", os.O_RDWR | os.O_CREAT), 1 << 50)

def fallocated_file():
    os.posix_fallocate(os.open("/tmp/s", os.O_RDWR | os.O_CREAT), 0, 10 << 30)

def open_files():
    fds = []
    while True:
        fds.append(os.open("/dev/null", os.O_RDONLY))

def epoll_instances():
    import select
    all = []
    while True:
        all.append(select.epoll())

def busy_loop():
    while True:
        pass

def busy_loop_in_c():
    sum(range(10**12))

def catastrophic_regex():
    import re
    re.match(r"(a*)*$", "a" * 64 + "b")

def busy_loop_ignoring_signals():
    for s in range(1, 65):
        try:
            signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        pass

def busy_children():
    for _ in range(8):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass

def sleep_past_the_limit():
    time.sleep(1000)

def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1000)

def flood_stdout():
    while True:
        os.write(1, b"x" * 65536)

def flood_stderr():
    while True:
        os.write(2, b"x" * 65536)

def flood_the_result():
    return "x" * (64 << 20)

def drip_the_result():
    os.write(3, struct.pack("<I", 1 << 16))
    while True:
        os.write(3, b" ")
        time.sleep(0.01)

def deep_recursion():
    def f():
        f()
    f()

def deep_recursion_without_limit():
    sys.setrecursionlimit(1 << 30)
    def f(x):
        return f([x] + [1])
    f([])

def stack_overflow_in_c():
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.py_object)
    def again(x):
        return again(x)
    sys.setrecursionlimit(1 << 30)
    again(1)

def grandchild_holds_stdout():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return "left one behind"

def stopped_grandchild():
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    os.kill(pid, signal.SIGSTOP)
    return "left one behind"

def ignore_all_and_linger():
    if os.fork() == 0:
        for s in range(1, 32):
            try:
                signal.signal(s, signal.SIG_IGN)
            except OSError:
                pass
        while True:
            time.sleep(100)
    return "left one behind"

def vfork_storm():
    import subprocess
    while True:
        subprocess.Popen(["/bin/sleep", "1000"])
