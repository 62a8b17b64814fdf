"""Reads every environment it can see. What it finds is in got; no value of the worker's may be among it."""

import glob
import os


def generate(data):
    got, refused = {"os.environ": "\n".join(f"{k}={v}" for k, v in sorted(os.environ.items()))}, {}
    paths = {"/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ", f"/proc/{os.getppid()}/environ"}
    for path in sorted(paths | set(glob.glob("/proc/[0-9]*/environ"))):
        try:
            with open(path, "rb") as source:
                got[path] = source.read(65536).decode("latin-1").replace("\0", "\n")
        except OSError as error:
            refused[path] = type(error).__name__
    processes = [name for name in os.listdir("/proc") if name.isdecimal()] if os.path.isdir("/proc") else []
    data["params"]["got"], data["params"]["refused"] = got, refused
    data["params"]["processes"] = sorted(processes, key=int)
    data["params"]["hostname"] = os.uname().nodename
