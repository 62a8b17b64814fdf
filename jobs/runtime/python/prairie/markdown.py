"""`<markdown>` in question.html: CommonMark, tables, strikethrough, mathematics left alone.

Guarantees: what stands between the tags becomes HTML; LaTeX between dollars,
\\( \\), \\[ \\] or in a \\begin{...} environment reaches MathJax as it was written;
a code block becomes <pl-code> where the course has that element; `<markdown#>`
stands for the tag itself. The parser is markdown-it-py (Debian: python3-markdown-it);
where the runtime lacks it, `<markdown>` is a QuestionError that says so.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any, Callable, List, Optional

from .faults import QuestionError

try:
    from markdown_it import MarkdownIt
except ImportError:  # no part of the product needs it but <markdown>
    MarkdownIt = None

_OPEN, _CLOSE = "<markdown>", "</markdown>"
_ESCAPED_TAG = re.compile(r"(</?markdown)#(#*)>")
_FENCE_INFO = re.compile(r"([^\\{\s]*)\s*(?:\{(.*)\})?")
_ENTITY = re.compile(r"&(?![A-Za-z][A-Za-z0-9]*;|#[0-9]+;|#[xX][0-9A-Fa-f]+;)")
_DOLLARS = re.compile(r"\$\$(?:\\.|[^$\\]|\$(?!\$))+?\$\$|\$(?:\\.|[^$\\])+\$", re.DOTALL)
_BACKSLASHED = re.compile(r"\\(?:[(\[]|begin\{([A-Za-z]+\*?)\})")
_DOLLAR = re.compile(r"\\{1,3}\$")
_IGNORED_DOLLAR = '<span class="mathjax_ignore">$</span>'
_OPENING = re.compile(r"\$\$|\\\[|\\begin\{([A-Za-z]+\*?)\}")


def process(html: str, has_pl_code: bool) -> str:
    """Replace every <markdown> section of html by the HTML it stands for."""
    out: List[str] = []
    pos = 0
    while True:
        start = html.find(_OPEN, pos)
        end = html.find(_CLOSE, start) if start >= 0 else -1
        if end < 0:
            return "".join(out) + html[pos:]
        source = _ESCAPED_TAG.sub(r"\1\2>", html[start + len(_OPEN) : end])
        out += html[pos:start], _converter()(source, {"pl_code": has_pl_code})
        pos = end + len(_CLOSE)


_cached: List[Callable[[str, dict], str]] = []


def _converter() -> Callable[[str, dict], str]:
    """Return the parser, built once; preload builds it before any course code runs."""
    if not _cached:
        if MarkdownIt is None:
            raise QuestionError(
                "<markdown> needs the package python3-markdown-it (markdown-it-py on PyPI), "
                "which this runtime does not have"
            )
        parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        parser.block.ruler.at("paragraph", _paragraph)
        parser.inline.ruler.before("escape", "math", _math)
        parser.add_render_rule("fence", _code)
        parser.add_render_rule("code_block", _code)
        parser.add_render_rule("math", lambda _self, tokens, i, _options, _env: tokens[i].content)
        _cached.append(parser.render)
    return _cached[0]


def preload() -> None:
    """Build and exercise the parser, where there is one."""
    if MarkdownIt is not None:
        process("<markdown># a\n*b* $c_1$\n\n```py\nd\n```\n- e\n\n| f |\n|---|\n| g |\n</markdown>", True)


def _math(state: Any, silent: bool) -> bool:
    """Inline rule: keep mathematics, and dollars that are only dollars, from Markdown."""
    source, pos = state.src, state.pos
    if source[pos] not in "$\\":
        return False
    match = _DOLLAR.match(source, pos)
    if match:
        end, content = match.end(), _IGNORED_DOLLAR
    else:
        end = _math_end(source, pos)
        if end < 0:
            return False
        content = _ENTITY.sub("&amp;", source[pos:end]).replace("<", "&lt;").replace(">", "&gt;")
    if not silent:
        state.push("math", "", 0).content = content
    state.pos = end
    return True


def _math_end(source: str, pos: int) -> int:
    """Return where the mathematics that opens at pos ends, or -1 where none does."""
    match = _DOLLARS.match(source, pos)
    if match:
        return match.end()
    match = _BACKSLASHED.match(source, pos)
    if not match:
        return -1
    closing = {"\\(": "\\)", "\\[": "\\]"}.get(match.group(), f"\\end{{{match.group(1)}}}")
    end = source.find(closing, match.end())
    return end + len(closing) if end >= 0 else -1


def _paragraph(state: Any, start: int, end: int, silent: bool = False) -> bool:
    """Block rule: a paragraph, which nothing interrupts inside displayed mathematics."""
    rules = state.md.block.ruler.getRules("paragraph")
    parent, state.parentType = state.parentType, "paragraph"
    line, inside = start, _closing(None, _line(state, start))
    while line + 1 < state.lineMax and not state.isEmpty(line + 1):
        line += 1
        deep = state.sCount[line] - state.blkIndent > 3 or state.sCount[line] < 0
        if not inside and not deep and any(rule(state, line, state.lineMax, True) for rule in rules):
            line -= 1
            break
        inside = _closing(inside, _line(state, line))
    state.parentType = parent
    state.line = line + 1
    state.push("paragraph_open", "p", 1).map = [start, state.line]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, state.line, state.blkIndent, False).strip()
    inline.map, inline.children = [start, state.line], []
    state.push("paragraph_close", "p", -1)
    return True


def _line(state: Any, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _closing(inside: Optional[str], line: str) -> Optional[str]:
    """Follow displayed mathematics through a line: what would close it after that line."""
    pos = 0
    while True:
        if inside:
            found = line.find(inside, pos)
            if found < 0:
                return inside
            inside, pos = None, found + len(inside)
            continue
        opening = _OPENING.search(line, pos)
        if opening is None:
            return None
        inside = {"$$": "$$", "\\[": "\\]"}.get(opening.group(), f"\\end{{{opening.group(1)}}}")
        pos = opening.end()


def _code(_self: Any, tokens: Any, index: int, _options: Any, env: dict) -> str:
    """Render rule: a code block, as <pl-code> where that is an element."""
    token = tokens[index]
    info = _FENCE_INFO.match(unescape(token.info).strip())
    language, lines = (info.group(1), info.group(2)) if info else ("", None)
    text = escape(token.content[:-1] if token.content.endswith("\n") else token.content)
    if not env["pl_code"]:
        kind = f' class="language-{escape(language)}"' if language else ""
        return f"<pre><code{kind}>{text}\n</code></pre>\n"
    attributes = f' language="{escape(language)}"' if language else ""
    attributes += f' highlight-lines="{escape(lines)}"' if lines else ""
    return f"<pl-code{attributes}>{text}</pl-code>\n"
