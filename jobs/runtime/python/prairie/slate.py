"""One process for several sessions, one after another: for rehearsals, where nobody's answers meet.

Guarantees: a session after `wipe` executes the course's modules afresh, on the
import path, in the directory, with the environment, the signal handlers and the
empty /tmp of the first one, and fresh random streams. Libraries stay loaded, and
with them whatever course code changed inside them. `spent` tells of a session
that left a thread or a process behind: no other may follow it.
"""

from __future__ import annotations

import _thread
import builtins
import os
import random
import shutil
import sys
from _signal import ITIMER_REAL, SIGALRM, SIGCHLD, SIGINT, SIGTERM, getsignal, setitimer, signal  # without the enumerations
from typing import Any, Dict, List, Sequence


class Slate:
    """What a process was like before its first session; `scratch` are directories that are a sandbox's own."""

    def __init__(self, course: str, scratch: Sequence[str] = ()) -> None:
        self._scratch = scratch
        self._below = course + "/"
        self._lists: List[tuple] = [(place, list(place)) for place in (sys.meta_path, sys.path_hooks)]
        self._libraries = set(sys.modules)
        self._newest = next(reversed(sys.modules))
        self._path = sys.path
        self._paths = list(sys.path)
        self._cwd = os.getcwd()
        self._environment = dict(_encoded(os.environ))
        self._builtins = dict(vars(builtins))
        self._handlers = {n: getsignal(n) for n in (SIGALRM, SIGINT, SIGTERM, SIGCHLD)}
        self._streams = sys.stdout, sys.stderr, sys.excepthook
        self._recursion = sys.getrecursionlimit()

    def wipe(self) -> None:
        """Make the process what it was, as far as a session could tell."""
        setitimer(ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            if getsignal(number) is not handler:
                signal(number, handler)
        for place, content in self._lists:
            place[:] = content
        sys.path = self._path
        sys.path[:] = self._paths
        self._forget()
        if _encoded(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self._environment.items()})
        names = vars(builtins)
        if names != self._builtins:
            names.clear()
            names.update(self._builtins)
        sys.stdout, sys.stderr, sys.excepthook = self._streams
        sys.setrecursionlimit(self._recursion)
        os.chdir(self._cwd)
        for place in self._scratch:
            _empty(place)

    def _forget(self) -> None:
        """Drop the course's modules; libraries that it was the first to import stay."""
        news = []
        for name in reversed(sys.modules):  # in the order of their import: what is new comes last
            if name == self._newest:
                break
            if name not in self._libraries:
                news.append(name)
        for name in news:
            if self._theirs(sys.modules[name]):
                del sys.modules[name]
            else:
                self._libraries.add(name)  # and looked at once
                self._newest = next(reversed(sys.modules))

    def _theirs(self, module: Any) -> bool:
        names = getattr(module, "__dict__", {})
        places = [names.get("__file__")]
        try:
            places += names.get("__path__", ())
        except Exception:  # something odd that course code put there
            return True
        return any(isinstance(place, str) and place.startswith(self._below) for place in places)


def scatter() -> None:
    """Give a session without a seed random streams that nobody had before."""
    random.seed(int.from_bytes(os.urandom(16), "little"))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(int.from_bytes(os.urandom(4), "little"))


def _encoded(environment: Any) -> Dict[bytes, bytes]:
    """Return what os.environ holds, where it can be compared in C."""
    return environment._data


def spent() -> bool:
    """Report whether something of the last session is still running."""
    if _thread._count():  # but the main one
        return True
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _empty(place: str) -> None:
    try:
        entries = list(os.scandir(place))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
