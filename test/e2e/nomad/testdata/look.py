# What of Nomad can be seen from here, and anywhere below top? Arguments: paths and
# host:port addresses that belong to it. Everything found goes into one list, which
# should be empty.
import os
import socket


def look(things, top="/"):
    found = []
    for pid in ["self"] + [p for p in os.listdir("/proc") if p.isdigit()]:
        for name in ("environ", "mountinfo", "cgroup", "cmdline"):
            try:
                text = open("/proc/%s/%s" % (pid, name), "rb").read().decode("utf-8", "replace")
            except OSError:
                continue
            found += ["%s of %s: %s" % (name, pid, w) for w in text.replace("\0", " ").split() if is_nomad(w)]
    found += ["environment: " + k for k in os.environ if "NOMAD" in k]
    for root, dirs, files in os.walk(top):
        if root in ("/proc", "/sys", "/usr", "/lib", "/lib64", "/bin"):
            dirs[:] = []
            continue
        found += [os.path.join(root, n) for n in dirs + files if n in ("secrets", "api.sock", "nomad_token", "alloc", "nomad")]
    for t in things:
        if t.startswith("/"):
            try:
                os.stat(t)
                found.append("there: " + t)
            except OSError:
                pass
            family, address = socket.AF_UNIX, t
        else:
            host, port = t.rsplit(":", 1)
            family, address = socket.AF_INET, (host, int(port))
        try:
            s = socket.socket(family, socket.SOCK_STREAM)
            s.settimeout(2)
            s.connect(address)
            found.append("connected: " + t)
        except OSError:
            pass
    return sorted(set(found))


def is_nomad(word):
    return "NOMAD" in word or "nomad" in word or "/alloc/" in word or "/secrets" in word or "api.sock" in word
