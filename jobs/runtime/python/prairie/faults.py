"""The ways in which a call can fail, and tracebacks made for course authors.

Guarantees: a failing store below the course is a StoreError, which is nobody's
question error, also when it struck inside course code. A QuestionError carries one line of message and a traceback that
shows frames of the course (and of a configured PrairieLearn root) only, never
the shim, the interpreter's library or a path outside. Turning an exception into
a QuestionError never raises, whatever the exception's own methods do.
"""

from __future__ import annotations

import errno
import traceback
from typing import Iterable, Optional, Tuple

MAX_MESSAGE = 2_000
MAX_TRACEBACK = 32_000

# What a course's code may raise at any moment, also while the shim is at work
# on its behalf: never our own fault.
ALWAYS_THEIRS = (SystemExit, KeyboardInterrupt, MemoryError, RecursionError)


class QuestionError(Exception):
    """The course's code raised, or returned something invalid."""

    def __init__(self, message: str, trace: str = "", outcome: str = "question_error") -> None:
        super().__init__(message)
        self.message = _short(message.replace("\n", " "), MAX_MESSAGE)
        self.traceback = trace
        self.outcome = outcome
        self.timings: Optional[list] = None  # of a phase, up to the fault


class Missing(Exception):
    """A question, element or method is not there; `code` says which."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StoreError(Exception):
    """The course's files could not be read: our fault, never the course's."""


class Roots:
    """The directories whose frames an author may see, and how they are shown."""

    def __init__(self, pairs: Iterable[Tuple[str, str]]) -> None:
        self._pairs = [(path.rstrip("/") + "/", shown + "/") for path, shown in pairs]

    def show(self, filename: str) -> Optional[str]:
        """Return filename as authors know it, or None for a file that is not theirs."""
        for path, shown in self._pairs:
            if filename.startswith(path):
                return shown + filename[len(path) :]
        return None

    def fault(self, exc: BaseException, where: str) -> QuestionError:
        """Turn what course code raised into a QuestionError; `where` names the function."""
        try:
            chain = traceback.TracebackException(
                type(exc), exc, exc.__traceback__, lookup_lines=False
            )
            place = self._trim(chain, set())
            trace = _tail("".join(chain.format()), MAX_TRACEBACK)
        except BaseException:  # a hostile __str__, or no memory left to print with
            place, trace = "", ""
        return QuestionError(f"{where}{place}: {describe(exc)}", trace)

    def refuse_store_failure(self, exc: BaseException) -> None:
        """Raise StoreError when exc says that the file system below the course failed."""
        if not isinstance(exc, OSError):
            return
        ours = isinstance(exc.filename, str) and self.show(exc.filename) is not None
        # ENOTCONN and ETIMEDOUT also come from sockets; EIO and ESTALE come from files alone.
        if exc.errno in (errno.EIO, errno.ESTALE) or (ours and exc.errno in (errno.ENOTCONN, errno.ETIMEDOUT)):
            raise StoreError(f"read the course: {exc}") from exc

    def owns(self, exc: BaseException) -> bool:
        """Tell whether a frame of course code took part in raising exc."""
        tb = exc.__traceback__
        while tb is not None:
            if self.show(tb.tb_frame.f_code.co_filename) is not None:
                return True
            tb = tb.tb_next
        return False

    def _trim(self, chain: traceback.TracebackException, seen: set) -> str:
        """Drop foreign frames from chain and its causes; return " (file, line n)"."""
        if id(chain) in seen:
            return ""
        seen.add(id(chain))
        place = ""
        kept = traceback.StackSummary()
        for frame in chain.stack:
            shown = self.show(frame.filename)
            if shown is None:
                continue
            frame.line  # read the source before the name changes
            frame.filename = shown
            kept.append(frame)
            place = f" ({shown}, line {frame.lineno})"
        chain.stack = kept
        if isinstance(getattr(chain, "filename", None), str):  # a SyntaxError
            shown = self.show(chain.filename)
            chain.filename = shown or "(outside the course)"
            if shown:
                place = f" ({shown}, line {chain.lineno})"
        for other in (chain.__cause__, chain.__context__, *(getattr(chain, "exceptions", None) or ())):
            if other is not None:
                self._trim(other, seen)
        return place


def describe(exc: BaseException) -> str:
    """Say in one line what was raised; never raises itself."""
    name = type(exc).__name__
    if isinstance(exc, SystemExit):
        code = exc.code
        shown = repr(code) if isinstance(code, (int, str, type(None))) else type(code).__name__
        return f"called sys.exit({_short(shown, 200)}); course code must return, not end the process"
    if isinstance(exc, ModuleNotFoundError) and exc.name == "prairielearn":
        return f"{name}: the package prairielearn is PrairieLearn's own; --prairielearn DIR provides it"
    if isinstance(exc, SyntaxError) and isinstance(exc.msg, str):
        return f"{name}: {_short(exc.msg, MAX_MESSAGE)}"
    try:
        text = str(exc)
    except BaseException:
        text = "(its __str__ raised)"
    return f"{name}: {_short(text, MAX_MESSAGE)}" if text else name


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " …"


def _tail(text: str, limit: int) -> str:
    return text if len(text) <= limit else "… \n" + text[-limit:]
