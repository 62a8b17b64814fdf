def sys_exit():
    sys.exit(0)

def system_exit_with_text():
    raise SystemExit("bye")

def keyboard_interrupt():
    raise KeyboardInterrupt

def os_exit():
    os._exit(0)

def segfault():
    ctypes.string_at(0)

def bus_error():
    os.kill(os.getpid(), signal.SIGBUS)
    ctypes.memset(8, 0, 8)

def exec_another_program():
    os.execv("/bin/echo", ["echo", "hello"])

def close_the_channel():
    os.close(3)
    time.sleep(100)

def close_everything():
    os.closerange(0, 256)
    time.sleep(100)

def poison_builtins():
    import builtins, json
    seen = getattr(builtins, "poisoned", False)
    builtins.poisoned = True
    json.dumps = lambda *a, **k: "{}"
    return seen

def poison_modules():
    seen = "evilmodule" in sys.modules
    sys.modules["evilmodule"] = sys
    return seen

def poison_home():
    seen = os.path.exists("/tmp/.local") or "evilpth" in sys.modules
    d = "/tmp/.local/lib/python3.11/site-packages"
    os.makedirs(d, exist_ok=True)
    open(d + "/evil.pth", "w").write("import evilpth\n")
    return seen

def poison_site_packages():
    open("/usr/lib/python3/dist-packages/evil.pth", "w")

def import_hook():
    seen = any(type(f).__name__ == "Evil" for f in sys.meta_path)
    class Evil:
        def find_spec(self, *a):
            return None
    sys.meta_path.insert(0, Evil())
    return seen

def search_memory():
    """Looks for another call's secret in every page that came from the zygote."""
    needle = ("prairie" + "-needle-" + "in-memory").encode()
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as mem:
        for l in maps:
            span, perms = l.split()[:2]
            if "r" not in perms or "[v" in l:
                continue
            lo, hi = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(lo)
                found += mem.read(hi - lo).count(needle)
            except (OSError, ValueError, OverflowError):
                pass
    return found

def keep_a_secret():
    return "kept " + world["needle"]

def preload_environment():
    import subprocess
    out = subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout
    return [l for l in out.splitlines() if l.startswith(("LD_", "PYTHONPATH", "NOMAD", "PRAIRIE", "SSH", "AWS"))]

def host_paths_in_traceback():
    raise RuntimeError("look at the traceback")

def tracing_others():
    import gc
    return sum(1 for o in gc.get_objects() if isinstance(o, dict) and o.get("variant_seed") not in (None, 1) and "world" in o)

def alarm_between_calls():
    signal.signal(signal.SIGALRM, lambda *a: os._exit(5))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    time.sleep(0.0005)

def threads_that_outlive():
    threading.Thread(target=lambda: time.sleep(1000)).start()
    return "left one behind"

def atexit_that_hangs():
    import atexit
    atexit.register(time.sleep, 1000)
    return "left one behind"

def finalizer_that_hangs():
    class Late:
        def __del__(self):
            time.sleep(1000)
    sys.late = Late()
    return "left one behind"
