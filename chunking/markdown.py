"""Markdown by its structure: sections under their headings; code, tables and lists kept whole while they fit.

The blocks are CommonMark's with GitHub's tables, and front matter. Sections are made by headings at the outer level.
"""

from __future__ import annotations

import re
from itertools import accumulate

from .blocks import MAX_TITLE_CHARS, Block, Path, check_sizes, pack
from .cuts import DEFAULT_MAX_TOKENS
from .tokens import Tokenize, tokenized
from .types import Chunk

_ATX = re.compile(r"(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([^`]*)$")
_BREAK = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_TABLE_RULE = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_HTML = re.compile(r"<(?:[A-Za-z][^\s>/]*|/[A-Za-z]|!|\?)")
_RAW_HTML = re.compile(r"<(script|pre|style|textarea)(?=[\s>]|$)|(<!--)|(<\?)", re.IGNORECASE)
_STARTS = frozenset("#`~-*+_>|<0123456789")
_LINK = re.compile(r"!?\[([^\]\[]*)\](?:\([^()]*\)|\[[^\]]*\])?")
_EMPHASIS = re.compile(r"(\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|`+)")


def split_markdown(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, min_tokens: int | None = None
) -> list[Chunk]:
    """A section a chunk, or several where it does not fit; headings are those above it, its own the last.

    min_tokens: a smaller section is joined with the next (an eighth of max_tokens; 0 to never join). Kinds: "text",
    "code", "table", "list", "quote", "html", "front_matter". A table that is cut has its header row as last heading.
    Raises ValueError where min_tokens is more than half of max_tokens.
    """
    least = check_sizes(max_tokens, min_tokens)
    document = tokenized(text, tokenize)
    return pack(document, markdown_blocks(text), max_tokens=max_tokens, min_tokens=least)


def markdown_blocks(text: str) -> list[Block]:
    """The blocks at the outer level, in order; the first begins at 0."""
    return _Reader(text).read() if text else []


class _Reader:
    """Reads lines, one block after the other. Blank lines belong to the block before them."""

    def __init__(self, text: str) -> None:
        if "\r" in text:
            text = text.replace("\r\n", " \n").replace("\r", "\n")  # as many characters as before
        self.lines = text.split("\n")
        self.starts = list(accumulate((len(line) + 1 for line in self.lines), initial=0))
        self.at = 0
        self.blocks: list[Block] = []
        self.path: list[tuple[int, str]] = []
        self.headings: Path = ()

    def read(self) -> list[Block]:
        self._front_matter()
        lines, size = self.lines, len(self.lines)
        while self.at < size:
            line = lines[self.at]
            if not line:
                self.at += 1
                continue
            stripped = line.lstrip(" ")
            if not stripped or stripped.isspace():
                self.at += 1
            elif len(line) - len(stripped) >= 4 or line[0] == "\t" or stripped[0] == "\t":
                self._indented()
            elif stripped[0] in _STARTS and self._marked(stripped):
                continue
            else:
                self._paragraph()
        return self.blocks

    def _add(self, first: int, kind: str = "text", *, inner: tuple[int, ...] = (), caption: str = "") -> None:
        self.blocks.append(Block(self.starts[first], kind, self.headings, inner=inner, caption=caption))

    def _front_matter(self) -> None:
        fence = self.lines[0].rstrip()
        if fence not in ("---", "+++") or len(self.lines) < 2 or not self.lines[1].strip():
            return
        for index in range(1, len(self.lines)):
            if self.lines[index].rstrip() in ((fence, "...") if fence == "---" else (fence,)):
                self._add(0, "front_matter")
                self.at = index + 1
                return

    def _marked(self, stripped: str) -> bool:
        """Read the block that a mark begins. False if it begins none."""
        mark = stripped[0]
        if mark == "#":
            found = _ATX.match(stripped)
            if found:
                self._heading(self.at, len(found[1]), found[2] or "")
                self.at += 1
                return True
            return False
        if mark in "`~":
            return self._fenced(stripped)
        if mark == ">":
            self._quote()
            return True
        if mark == "<":
            return self._html(stripped)
        if mark in "*-_" and _BREAK.match(stripped):
            self._add(self.at)
            self.at += 1
            return True
        if mark in "-*+0123456789" and _ITEM.match(stripped):
            self._list()
            return True
        return False

    def _heading(self, first: int, level: int, title: str) -> None:
        while self.path and self.path[-1][0] >= level:
            self.path.pop()
        self.path.append((level, plain_title(title)))
        self.headings = tuple(name for _, name in self.path if name)
        self.blocks.append(Block(self.starts[first], "text", self.headings, opens=True, glued=True))

    def _fenced(self, stripped: str) -> bool:
        found = _FENCE.match(stripped)
        if not found:
            return False
        self._add(self.at, "code")
        self.at = self._after_fence(self.at, found[1])
        return True

    def _after_fence(self, index: int, fence: str) -> int:
        for following in range(index + 1, len(self.lines)):
            line = self.lines[following].strip()
            if line.startswith(fence) and not line.strip(fence[0]):
                return following + 1
        return len(self.lines)

    def _indented(self) -> None:
        first = self.at
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and not line.startswith(("    ", "\t", " \t", "  \t", "   \t")):
                break
            self.at += 1
        self._add(first, "code")

    def _quote(self) -> None:
        first = self.at
        while self.at < len(self.lines) and self.lines[self.at].strip():
            line = self.lines[self.at].lstrip(" ")
            if not line.startswith(">") and self._interrupts(line, self.lines[self.at]):
                break
            self.at += 1
        self._add(first, "quote")

    def _html(self, stripped: str) -> bool:
        if not _HTML.match(stripped):
            return False
        first = self.at
        raw = _RAW_HTML.match(stripped)
        if raw:
            end = f"</{raw[1].lower()}>" if raw[1] else "-->" if raw[2] else "?>"
            while self.at < len(self.lines) and end not in self.lines[self.at].lower():
                self.at += 1
            self.at += 1
        else:
            while self.at < len(self.lines) and self.lines[self.at].strip():
                self.at += 1
        self._add(first, "html")
        return True

    def _list(self) -> None:
        """To the first line after a blank one that is neither indented nor an item."""
        first, items, after_blank = self.at, list[int](), False
        while self.at < len(self.lines):
            line = self.lines[self.at]
            stripped = line.lstrip(" \t")
            indent = len(line) - len(stripped)
            if not stripped.strip():
                after_blank = True
                self.at += 1
                continue
            is_item = stripped[0] in "-*+0123456789" and _ITEM.match(stripped) and not _BREAK.match(stripped)
            if indent == 0 and not is_item and (after_blank or self._interrupts(stripped, line)):
                break
            if is_item and indent < 2:
                items.append(self.starts[self.at])
            after_blank = False
            fence = _FENCE.match(stripped) if stripped[0] in "`~" else None
            self.at = self._after_fence(self.at, fence[1]) if fence else self.at + 1
        self._add(first, "list", inner=tuple(items[1:]))

    def _paragraph(self) -> None:
        first, lines = self.at, self.lines
        if "|" in lines[first] and first + 1 < len(lines) and self._is_table_rule(first + 1):
            self._table()
            return
        self.at += 1
        while self.at < len(lines):
            line = lines[self.at]
            if not line:
                break
            stripped = line.lstrip(" ")
            if not stripped or stripped.isspace():
                break
            if stripped[0] in "=-" and _SETEXT.match(line):
                title = " ".join(part.strip() for part in lines[first : self.at])
                self._heading(first, 1 if stripped[0] == "=" else 2, title)
                self.at += 1
                return
            if stripped[0] in _STARTS and self._interrupts(stripped, line):
                break
            if "|" in line and self.at + 1 < len(lines) and self._is_table_rule(self.at + 1):
                break
            self.at += 1
        self._add(first)

    def _is_table_rule(self, index: int) -> bool:
        rule = self.lines[index]
        return "-" in rule and "|" in rule and _TABLE_RULE.match(rule) is not None

    def _table(self) -> None:
        first = self.at
        self.at += 2
        rows: list[int] = []
        while self.at < len(self.lines) and self.lines[self.at].strip():
            stripped = self.lines[self.at].lstrip(" ")
            if "|" not in stripped and self._interrupts(stripped, self.lines[self.at]):
                break
            rows.append(self.starts[self.at])
            self.at += 1
        self._add(first, "table", inner=tuple(rows[1:]), caption=self.lines[first].strip()[:MAX_TITLE_CHARS])

    def _interrupts(self, stripped: str, line: str) -> bool:
        """Whether a line that does not follow a blank one begins a block of its own."""
        if len(line) - len(stripped) >= 4:
            return False
        mark = stripped[0]
        if mark == "#":
            return _ATX.match(stripped) is not None
        if mark in "`~":
            return _FENCE.match(stripped) is not None
        if mark == ">":
            return True
        if mark == "<":
            return _RAW_HTML.match(stripped) is not None
        if mark in "*-_" and _BREAK.match(stripped):
            return True
        if mark in "-*+0123456789":
            item = _ITEM.match(stripped)
            return (
                item is not None
                and item.end() < len(stripped.rstrip())
                and (not mark.isdigit() or stripped[:2] in ("1.", "1)"))
            )
        return False


def plain_title(title: str) -> str:
    """A heading's words without the marks of links, emphasis and code."""
    title = _LINK.sub(r"\1", title)
    return " ".join(_EMPHASIS.sub("", title).replace("\\", "").split())[:MAX_TITLE_CHARS]
