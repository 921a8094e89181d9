"""HTML -> text like Markdown: headings, lists, tables and code keep their shape; scripts and styles are left out.

The standard library's parser reads tag by tag without a tree, so depth costs nothing and broken markup is no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from .text import decode, guess
from .types import Head, Limits, Piece, Refused, clean_title, in_pieces

CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_\-:.]{1,40})", re.I)
LEFT_OUT = frozenset({"script", "style", "template", "svg", "math", "iframe", "object", "noscript", "select", "button"})
BLOCKS = frozenset(
    {"p", "div", "section", "article", "main", "header", "footer", "nav", "aside", "figure", "figcaption", "address"}
    | {"blockquote", "dl", "dt", "dd", "ul", "ol", "table", "form", "fieldset", "details", "summary", "hr", "body"}
)
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
BLANKS = re.compile(r"[ \t\r\n\f\v\xa0]+")
MAX_LIST_DEPTH = 8  # deeper ones are not moved in further


def parse(path: Path, limits: Limits, skip: int) -> Iterator[Head | Piece]:
    title, text = to_markdown(_read(path.read_bytes()))
    if len(text) > limits.max_chars:
        raise Refused(f"the text has {len(text)} characters: at most {limits.max_chars} are accepted")
    yield Head(title=title)
    yield from in_pieces(text, skip)


def _read(raw: bytes) -> str:
    """By the encoding that the page declares, where it is one and fits."""
    declared = CHARSET.search(raw[:4096])
    if declared and not raw.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        try:
            return decode(raw.decode(declared[1].decode("ascii")).encode("utf-8", "surrogatepass"))
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(guess(raw).encode("utf-8", "surrogatepass"))


def to_markdown(source: str) -> tuple[str, str]:
    """(title, text)"""
    writer = _Writer()
    writer.feed(source)
    writer.close()
    return clean_title(writer.title or writer.first_heading), writer.text()


class _Writer(HTMLParser):
    """Blocks, one after another; what stands in the block that is being written is in `_inline`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = self.first_heading = ""
        self._blocks: list[str] = []
        self._inline: list[str] = []
        self._hidden: list[str] = []  # open tags whose text is left out
        self._in_title = False
        self._heading = ""
        self._lists: list[int | None] = []  # the number of the last item; None for bullets
        self._item = ""
        self._pre = 0
        self._row: list[str] | None = None
        self._rows: list[list[str]] = []

    def text(self) -> str:
        self._end_block()
        return "".join(self._blocks).strip("\n") + "\n" if any(map(str.strip, self._blocks)) else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden or tag in LEFT_OUT:
            if tag in LEFT_OUT:
                self._hidden.append(tag)
            return
        if tag == "title":
            self._in_title = True
        elif tag in HEADINGS:
            self._end_block()
            self._heading = HEADINGS[tag]
        elif tag in ("ul", "ol"):
            self._end_block()
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._begin_item()
        elif tag == "pre":
            self._end_block()
            self._pre += 1
        elif tag == "br":
            self._inline.append("\n")
        elif tag == "table":
            self._end_block()
            self._rows = []
        elif tag == "tr":
            self._end_row()
            self._row = []
        elif tag in ("td", "th"):
            self._end_cell()
            if self._row is None:
                self._row = []
        elif tag in BLOCKS and self._row is None:
            self._end_block()
        elif tag in BLOCKS:
            self._inline.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.pop()
            return
        if tag == "title":
            self._in_title = False
        elif tag in HEADINGS:
            self._end_block()
            self._heading = ""
        elif tag in ("ul", "ol"):
            self._end_block()
            if self._lists:
                self._lists.pop()
        elif tag == "pre" and self._pre:
            self._end_block()
            self._pre -= 1
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_table()
        elif tag in BLOCKS or tag == "li":
            self._inline.append(" ") if self._row is not None else self._end_block()

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data[:1000] if len(self.title) < 1000 else ""
        elif not self._hidden:
            self._inline.append(data)

    def _begin_item(self) -> None:
        self._end_block()
        if not self._lists:
            self._lists.append(None)
        number = self._lists[-1]
        if number is not None:
            number += 1
            self._lists[-1] = number
        indent = "  " * min(len(self._lists) - 1, MAX_LIST_DEPTH)
        self._item = f"{indent}{'-' if number is None else f'{number}.'} "

    def _end_cell(self) -> None:
        if self._row is not None and self._inline:
            cell = BLANKS.sub(" ", "".join(self._inline)).strip().replace("|", "\\|")
            self._inline.clear()
            if cell or self._row:
                self._row.append(cell)

    def _end_row(self) -> None:
        self._end_cell()
        if self._row:
            self._rows.append(self._row)
        self._row = None

    def _end_table(self) -> None:
        self._end_row()
        if self._rows:
            width = max(map(len, self._rows))
            lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in self._rows]
            lines.insert(1, f"|{' --- |' * width}")
            self._blocks.append("\n".join(lines) + "\n\n")
        self._rows = []

    def _end_block(self) -> None:
        if self._row is not None or self._rows:
            self._end_table()
        written = "".join(self._inline)
        self._inline.clear()
        if self._pre:
            if written.strip():
                self._blocks.append(f"```\n{written.strip(chr(10))}\n```\n\n")
            return
        text = "\n".join(filter(None, (BLANKS.sub(" ", line).strip() for line in written.split("\n"))))
        if not text:
            return
        if self._heading:
            text = " ".join(text.split())
            self.first_heading = self.first_heading or text
            self._blocks.append(f"{self._heading} {text}\n\n")
        elif self._item:
            self._blocks.append(f"{self._item}{text}\n")
            self._item = ""
        else:
            self._blocks.append(f"{text}\n" if self._lists else f"{text}\n\n")
        if self._blocks and not self._lists and len(self._blocks) > 1 and self._blocks[-2].endswith("\n"):
            self._separate()

    def _separate(self) -> None:
        """A paragraph after a list begins after a blank line."""
        before = self._blocks[-2]
        if not before.endswith("\n\n"):
            self._blocks[-2] = f"{before}\n"
