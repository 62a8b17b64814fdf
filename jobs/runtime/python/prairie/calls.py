"""One function of course code: its arguments, its run, what it hands back.

Guarantees: the caller's data is never touched; the function works on a copy. What
it leaves behind, mutated or returned, is strict JSON, or the call is a
QuestionError. An exception of any kind, SystemExit and KeyboardInterrupt too,
becomes a QuestionError. Paths that the shim lends to data["options"] are taken
back afterwards.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional, Tuple

from lxml import etree

from . import jsonjs
from .faults import QuestionError, Roots, StoreError, describe


def run(roots: Roots, where: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call course code; whatever it raises becomes a QuestionError."""
    try:
        return function(*args)
    except (QuestionError, StoreError):
        raise
    except BaseException as exc:
        roots.refuse_store_failure(exc)
        fault = roots.fault(exc, where)
    raise fault


def runner(roots: Roots, where: str) -> Callable[..., Any]:
    """Return run for one place."""
    return lambda function, *args: run(roots, where, function, *args)


def element_html(html: Optional[str], name: str) -> bytes:
    """Return an element's HTML as controllers get it: ASCII bytes with character references."""
    if not html:
        return f"<{name}></{name}>".encode("ascii", "xmlcharrefreplace")
    return html.encode("ascii", "xmlcharrefreplace")


def element_args(function: Any, html: bytes, data: dict) -> Tuple[Any, ...]:
    """Return an element function's arguments; the legacy form gets None for its index."""
    if hasattr(function, "__wrapped__"):
        function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is not None:
        required = code.co_argcount - len(getattr(function, "__defaults__", None) or ())
        if required == 3 and not hasattr(function, "__self__"):
            return (html, None, data)
    return (html, data)


ELEMENT_URLS = ("client_files_element_url", "client_files_extensions_url")


def element_urls(options: dict, name: str, extensions: dict) -> dict:
    """Return the URLs that an element finds in its options while it renders."""
    urls: dict = {}
    base = options.get("course_element_files_url")
    if isinstance(base, str):
        urls["client_files_element_url"] = f"{base}/{name}/clientFilesElement"
    base = options.get("course_element_extension_files_url")
    if isinstance(base, str):
        urls["client_files_extensions_url"] = {
            extension: f"{base}/{name}/{extension}/clientFilesExtension" for extension in extensions
        }
    return urls


def returned_data(value: Any, data: dict, where: str) -> dict:
    """Return the data a function leaves: the one it mutated, or another it returned."""
    if value is None or value is data:
        return data
    if not isinstance(value, dict):
        raise QuestionError(f"{where} returned {type(value).__name__}, not the data object or None")
    return value


def returned_html(value: Any, where: str) -> str:
    """Return the HTML a render function returned."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, etree._Element):
        return etree.tostring(value, encoding="unicode", method="html", with_tail=False)
    raise QuestionError(f"{where} returned {type(value).__name__}, not a string of HTML")


def returned_file(roots: Roots, value: Any, where: str) -> bytes:
    """Return the bytes of what a file function returned: bytes, str, a file-like or None."""
    if value is None:
        return b""
    if hasattr(value, "read"):
        value = run(roots, where, _read, value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise QuestionError(f"{where} returned {type(value).__name__}, not bytes, a string, a file or None")


def _read(file: Any) -> Any:
    file.seek(0)
    return file.read()


def settle(value: Any, limit: int, where: str) -> Any:
    """Return data as the next call sees it, or raise for what is not JSON or too large."""
    try:
        return jsonjs.normalise(value, check=lambda size: bounded(size, limit, where))[1]
    except QuestionError:
        raise
    except jsonjs.NotJSON as exc:
        raise QuestionError(f"{exc} (after {where})") from None
    except Exception as exc:  # from the methods of a course's own types
        raise QuestionError(f"data is not JSON after {where}: {describe(exc)}") from None


def bounded(size: int, limit: int, where: str) -> None:
    """Refuse a result of more than limit bytes."""
    if size > limit:
        message = f"{where} left a result of {size} bytes; the limit is {limit}"
        raise QuestionError(message, outcome="output_too_large")


class Loan:
    """What the shim lends to data for the time of a call: paths, and an element's extensions."""

    def __init__(self, paths: dict, extensions: Optional[dict] = None) -> None:
        self._paths = paths
        self._extensions = extensions

    def give(self, data: dict) -> dict:
        """Add the loan to a copy of data and return it."""
        work = jsonjs.copy(data)
        options = work.setdefault("options", {})
        if isinstance(options, dict):
            options.update(self._paths)
        if self._extensions is not None and "extensions" not in work:
            work["extensions"] = jsonjs.copy(self._extensions)
        return work

    def take_back(self, result: dict, original: dict) -> dict:
        """Remove the loan from a result, restoring what the caller had sent."""
        options = result.get("options")
        if isinstance(options, dict):
            sent = original.get("options")
            sent = sent if isinstance(sent, dict) else {}
            for key, path in self._paths.items():
                if options.get(key) != path:
                    continue
                if key in sent:
                    options[key] = sent[key]
                else:
                    del options[key]
            if not options and "options" not in original:
                del result["options"]
        if self._extensions is not None and "extensions" not in original:
            result.pop("extensions", None)
        return result
