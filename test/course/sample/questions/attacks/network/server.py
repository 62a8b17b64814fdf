"""Connects to the host, to a cloud's metadata, to a name server and to abstract sockets. got must stay empty."""

import socket

ADDRESSES = [
    ("127.0.0.1", 22),
    ("127.0.0.1", 4646),
    ("169.254.169.254", 80),
    ("10.0.0.1", 80),
    ("8.8.8.8", 53),
    ("::1", 22),
]


def generate(data):
    got, refused = {}, {}
    # A caller may add addresses of its own: ["host", port] in params.addresses.
    for host, port in ADDRESSES + [tuple(pair) for pair in data["params"].get("addresses", [])]:
        name = f"tcp {host}:{port}"
        try:
            with socket.create_connection((host, port), timeout=1) as connection:
                got[name] = str(connection.getpeername())
        except OSError as error:
            refused[name] = f"{type(error).__name__} {error.errno}"
    try:
        got["dns example.com"] = str(socket.getaddrinfo("example.com", 80)[0][4])
    except OSError as error:
        refused["dns example.com"] = f"{type(error).__name__} {error.errno}"
    for path in ["/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                got[f"unix {path}"] = "connected"
        except OSError as error:
            refused[f"unix {path}"] = f"{type(error).__name__} {error.errno}"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.settimeout(1)
            datagram.sendto(b"hello", ("8.8.8.8", 53))
            got["udp 8.8.8.8:53"] = "sent"
    except OSError as error:
        refused["udp 8.8.8.8:53"] = f"{type(error).__name__} {error.errno}"
    data["params"]["got"], data["params"]["refused"] = got, refused
