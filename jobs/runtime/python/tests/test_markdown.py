"""`<markdown>`: CommonMark with tables, and mathematics left alone."""

from __future__ import annotations

import os
import random
import unittest

from prairie import markdown
from prairie.faults import QuestionError
from support import CourseCase, table


class NeedsParser(unittest.TestCase):
    """A test that needs markdown-it-py."""

    def setUp(self) -> None:
        super().setUp()
        if markdown.MarkdownIt is None:
            if os.environ.get("REQUIRE_ALL") == "1":
                self.fail("python3-markdown-it is not installed")
            self.skipTest("python3-markdown-it is not installed")


@table([
    ("heading", "# Hi\nThis **works**.", "<h1>Hi</h1>\n<p>This <strong>works</strong>.</p>"),
    ("underscores in math", "$a _{1_ 2}$", "<p>$a _{1_ 2}$</p>"),
    ("two formulas", "$a_{ 1 } = 3$ and\n$a_{ 2 } = 4$", "<p>$a_{ 1 } = 3$ and\n$a_{ 2 } = 4$</p>"),
    ("display", "$$\na^2 + b^2 = c^2\n$$", "<p>$$\na^2 + b^2 = c^2\n$$</p>"),
    ("display with stars", "$$\na **b** c\n$$", "<p>$$\na **b** c\n$$</p>"),
    ("display in a paragraph", "t\n$$\na **b** c\n$$\nt", "<p>t\n$$\na **b** c\n$$\nt</p>"),
    ("two displays", "$$\na\n$$\n$$\nb\n$$", "<p>$$\na\n$$\n$$\nb\n$$</p>"),
    ("list marks in a display", "$$\na\n- b\n+ c\n# d\n> e\n$$", "<p>$$\na\n- b\n+ c\n# d\n&gt; e\n$$</p>"),
    ("display on one line", "$$ a_1 + b_1 $$\n- c", "<p>$$ a_1 + b_1 $$</p>\n<ul>\n<li>c</li>\n</ul>"),
    ("parentheses", "\\(a_1 _b_\\) \\[c_1 *d*\\]", "<p>\\(a_1 _b_\\) \\[c_1 *d*\\]</p>"),
    ("environment", "\\begin{align*}\na &= b_1 \\\\\n- c &= d_1\n\\end{align*}",
     "<p>\\begin{align*}\na &amp;= b_1 \\\\\n- c &amp;= d_1\n\\end{align*}</p>"),
    ("less than in math", "$a<b$ and $a &lt; b$ and $a & b$", "<p>$a&lt;b$ and $a &lt; b$ and $a &amp; b$</p>"),
    ("escaped dollar", "\\$2 and \\\\$3 and \\\\\\$4",
     "<p>" + " and ".join('<span class="mathjax_ignore">$</span>' + n for n in "234") + "</p>"),
    ("escaped dollar in math", "$a \\$ b_1 c_1$", "<p>$a \\$ b_1 c_1$</p>"),
    ("lone dollar", "costs 5$ *now*", "<p>costs 5$ <em>now</em></p>"),
    ("dollar in code", "`$a$ _b_`", "<p><code>$a$ _b_</code></p>"),
    ("code block", "```\nint a = 12;\n```", "<pl-code>int a = 12;</pl-code>"),
    ("code block with language", "```cpp\na < b;\n```", '<pl-code language="cpp">a &lt; b;</pl-code>'),
    ("code block with lines", "```{1,2-3}\na\n```", '<pl-code highlight-lines="1,2-3">a</pl-code>'),
    ("code block with both", "```cpp{1}\na\n```", '<pl-code language="cpp" highlight-lines="1">a</pl-code>'),
    ("indented code", "    a\n    b", "<pl-code>a\nb</pl-code>"),
    ("table", "| a | b |\n| --- | --- |\n| c | d |",
     "<table>\n<thead>\n<tr>\n<th>a</th>\n<th>b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>c</td>\n<td>d</td>\n</tr>\n</tbody>\n</table>"),
    ("strikethrough", "~~a~~", "<p><s>a</s></p>"),
    ("elements inside", 'a *b* <pl-x answers-name="c_d_e"></pl-x>', '<p>a <em>b</em> <pl-x answers-name="c_d_e"></pl-x></p>'),
    ("escaped tag", "```html\n<markdown#></markdown##>\n```",
     '<pl-code language="html">&lt;markdown&gt;&lt;/markdown#&gt;</pl-code>'),
    ("empty", "", ""),
])  # fmt: skip
class Sections(NeedsParser):
    """One section, with pl-code as an element."""

    def check(self, source: str, expected: str) -> None:
        self.assertEqual(markdown.process(f"<markdown>{source}</markdown>", True).strip(), expected)
        self.assertEqual(markdown.process(f"<markdown>\n{source}\n</markdown>", True).strip(), expected)


class Documents(NeedsParser):
    """Sections in their surroundings."""

    def test_several_sections(self) -> None:
        html = "a\n<markdown></markdown>\n*b*\n<markdown>`c`</markdown>"
        self.assertEqual(markdown.process(html, True).strip(), "a\n\n*b*\n<p><code>c</code></p>")

    def test_without_pl_code(self) -> None:
        html = markdown.process("<markdown>```py\nx < 1\n```</markdown>", False)
        self.assertEqual(html, '<pre><code class="language-py">x &lt; 1\n</code></pre>\n')

    def test_unclosed_section_stays(self) -> None:
        self.assertEqual(markdown.process("<markdown>*a*", True), "<markdown>*a*")

    def test_without_mathematics_it_is_the_parser_s_own_markdown(self) -> None:
        stock = markdown.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        pieces = ["a", "*", "_", "\n", "\n\n", "- ", "1. ", "> ", "# ", "    ", "|", "---", "<b>", "`", "~~", "[x](y)", "&amp;", "=", "\\*"]
        rnd = random.Random(4)
        for _ in range(1500):
            source = "".join(rnd.choice(pieces) for _ in range(rnd.randrange(20)))
            expected = stock.render(source)
            if "<pre>" not in expected:
                self.assertEqual(markdown.process(f"<markdown>{source}</markdown>", False), expected, source)

    def test_mathematics_never_fails(self) -> None:
        pieces = ["$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{a}", "\\end{a}", "\\", "a_1", "*", "\n", "\n\n", "- ", "<", "&"]
        rnd = random.Random(5)
        for _ in range(1500):
            markdown.process("<markdown>" + "".join(rnd.choice(pieces) for _ in range(25)) + "</markdown>", True)


class WithoutParser(CourseCase):
    """Where the package is missing, only <markdown> fails, and says what it needs."""

    def test_the_fault_names_the_package(self) -> None:
        found, markdown.MarkdownIt = markdown.MarkdownIt, None
        cached, markdown._cached[:] = list(markdown._cached), []
        try:
            with self.assertRaisesRegex(QuestionError, "python3-markdown-it"):
                markdown.process("<markdown>a</markdown>", True)
            self.assertEqual(markdown.process("<p>a</p>", True), "<p>a</p>")
            markdown.preload()
        finally:
            markdown.MarkdownIt = found
            markdown._cached[:] = cached
