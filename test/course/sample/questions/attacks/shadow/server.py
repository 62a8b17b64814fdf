"""Reads files of the host that no sandbox has. got must stay empty."""

PATHS = [
    "/etc/shadow",
    "/etc/gshadow",
    "/root/.ssh/id_ed25519",
    "/root/.bash_history",
    "/proc/1/root/etc/shadow",
    "/proc/self/root/etc/shadow",
    "/proc/1/cwd/../etc/shadow",
    "/proc/kcore",
    "/var/run/docker.sock",
    "/dev/mem",
]


def generate(data):
    got, refused = {}, {}
    for path in PATHS:
        try:
            with open(path, "rb") as source:
                got[path] = source.read(4096).decode("latin-1")
        except OSError as error:
            refused[path] = type(error).__name__
    data["params"]["got"], data["params"]["refused"] = got, refused
