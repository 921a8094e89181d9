"""HTML by its elements, in the original text: offsets are the document's, tags and all.

No tree is built: tags are read in one pass, broken ones too, so nothing that a browser would show or hide can fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from .blocks import MAX_TITLE_CHARS, Block, Path, check_sizes, pack
from .cuts import DEFAULT_MAX_TOKENS
from .tokens import Tokenize, tokenized
from .types import Chunk

_BLOCK_TAGS = frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog",
        "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4",
        "h5", "h6", "header", "hgroup", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "optgroup",
        "option", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"
    )
)  # fmt: skip
_WHOLE = {"table": "table", "pre": "code", "ul": "list", "ol": "list", "dl": "list"}
_PARTS = {"table": ("tr",), "list": ("li", "dt"), "code": ()}
_RAW = frozenset(("script", "style", "template", "svg", "math", "iframe", "object", "noframes", "head"))
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]{0,63})")
_ATTRIBUTES = re.compile(r"(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
_MAX_TAG_CHARS = 2048  # a longer tag ends at the first ">", quoted or not: else hostile text costs quadratic time
_SPACES = re.compile(r"\s*")


def split_html(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, min_tokens: int | None = None
) -> list[Chunk]:
    """A section a chunk, or several where it does not fit; headings are h1 to h6 above it.

    Tables, lists and `pre` are kept whole while they fit. Kinds: "text", "table", "list", "code", and "markup" for
    what no reader sees (the head, scripts, styles, comments): such chunks keep the offsets whole and are not to be
    searched.
    min_tokens as in split_markdown. `visible_text` gives a chunk's words.
    """
    least = check_sizes(max_tokens, min_tokens)
    document = tokenized(text, tokenize)
    return pack(document, html_blocks(text), max_tokens=max_tokens, min_tokens=least, adjust=before_tag)


def before_tag(text: str, start: int, end: int) -> int:
    """The end, moved before the tag that it would cut in two."""
    begin = text.rfind("<", max(start + 1, end - _MAX_TAG_CHARS), end)
    if begin < 0 or not _TAG.match(text, begin) or text.find(">", begin, end) >= 0:
        return end
    return begin


def visible_text(text: str) -> str:
    """The words of a piece of HTML: without tags, entities resolved; a line a block, white space as single spaces."""
    parts, place = list[str](), 0
    for begin, end, _, tag in _tags(text):
        parts.append(text[place:begin])
        parts.append("\n" if tag in _BLOCK_TAGS or tag == "br" else "")
        place = end
    parts.append(text[place:])
    lines = (" ".join(line.split()) for line in unescape("".join(parts)).splitlines())
    return "\n".join(line for line in lines if line)


def html_blocks(text: str) -> list[Block]:
    """The blocks in order; the first begins at 0."""
    return _Reader(text).read() if text else []


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks: list[Block] = []
        self.path: list[tuple[int, str]] = []
        self.start = 0  # of the block that is being read
        self.has_words = False
        self.depth = 0  # of the element that is kept whole
        self.whole = ""  # its tag
        self.inner: list[int] = []

    def read(self) -> list[Block]:
        place = 0
        for begin, end, closing, tag in _tags(self.text):
            if begin > place and not self.has_words:
                self.has_words = not self.text[place:begin].isspace()
            place = end
            if tag in _RAW or not tag:
                self._hidden(begin, end)
            elif self.whole:
                self._inside_whole(begin, end, closing, tag)
            elif tag in _BLOCK_TAGS:
                self._block(begin, end, closing, tag)
            elif tag in ("img", "video", "audio", "input", "textarea", "button"):
                self.has_words = True
        if self.start < len(self.text):
            self._add(self.start, "" if self.has_words or place < len(self.text) else "markup")
        return self.blocks

    def _headings(self) -> Path:
        return tuple(name for _, name in self.path if name)

    def _add(self, start: int, kind: str = "", *, is_title: bool = False) -> None:
        kind = kind or _WHOLE.get(self.whole, "text")
        self.blocks.append(Block(start, kind, self._headings(), is_title, is_title, tuple(self.inner)))
        self.inner, self.has_words = [], False

    def _flush(self, end: int) -> None:
        """End the block before `end`, if it has words; else its tags go to the next block."""
        if self.has_words:
            self._add(self.start)
            self.start = end

    def _after(self, end: int) -> int:
        spaces = _SPACES.match(self.text, end)
        return spaces.end() if spaces else end

    def _hidden(self, begin: int, end: int) -> None:
        if self.whole:
            return
        if end - begin < 200 and self.has_words:
            return  # a comment inside a paragraph
        self._flush(begin)
        self._add(self.start, "markup")
        self.start = self._after(end)

    def _inside_whole(self, begin: int, end: int, closing: bool, tag: str) -> None:
        if tag in _PARTS[_WHOLE[self.whole]] and not closing and (tag != "li" or self.depth == 1):
            self.inner.append(begin)
        if tag != self.whole:
            return
        self.depth += -1 if closing else 1
        if self.depth == 0:
            self.inner = [place for place in self.inner[1:] if place > self.start]
            self.has_words = True
            self._add(self.start)
            self.start, self.whole = self._after(end), ""

    def _block(self, begin: int, end: int, closing: bool, tag: str) -> None:
        if closing:
            if tag in _HEADINGS and self.has_words:
                self._heading(_HEADINGS[tag], end)
            elif self.has_words:
                self._flush(self._after(end))
            elif self.blocks and self.text[self.start : begin].strip() == "":
                self.start = self._after(end)  # a closing tag belongs to the block before
            return
        self._flush(begin)
        if tag in _WHOLE:
            self.whole, self.depth = tag, 1

    def _heading(self, level: int, end: int) -> None:
        title = " ".join(visible_text(self.text[self.start : end]).split())[:MAX_TITLE_CHARS]
        while self.path and self.path[-1][0] >= level:
            self.path.pop()
        self.path.append((level, title))
        self._add(self.start, "text", is_title=True)
        self.start = self._after(end)


class _Finder:
    """Finds in ASCII letters of any case, and remembers what is not there any more: hostile text costs no more."""

    def __init__(self, text: str) -> None:
        lower = text.lower()
        self.text = lower if len(lower) == len(text) else text
        self.missing: set[str] = set()

    def after(self, needle: str, place: int) -> int:
        """The place after the needle; 0 where it does not follow."""
        found = -1 if needle in self.missing else self.text.find(needle, place)
        if found < 0:
            self.missing.add(needle)
            return 0
        return found + len(needle)


def _tags(text: str) -> Iterator[tuple[int, int, bool, str]]:
    """(begin, end, closing, name) of the tags; comments, and what is hidden with its content, have one span.

    The name of a comment or a declaration is "". A "<" that begins no tag is text.
    """
    finder = _Finder(text)
    place = text.find("<")
    while place >= 0:
        found = _TAG.match(text, place)
        name, closing, end = "", False, 0
        if found:
            name, closing = found[2].lower(), bool(found[1])
            end = _tag_end(text, found.end(), finder)
            if end and name in _RAW and not closing and text[end - 2] != "/":
                end = _content_end(text, name, end, finder)
        else:
            end = _declaration_end(text, place, finder)
        if end:
            yield place, end, closing, name
        place = text.find("<", end or place + 1)


def _declaration_end(text: str, place: int, finder: _Finder) -> int:
    """Where a comment, a declaration or a processing instruction ends; 0 for a "<" that is none of them."""
    if text.startswith("<!--", place):
        end = finder.after("-->", place + 4)
        if end:
            return end
    return finder.after(">", place) if text[place + 1 : place + 2] in ("!", "?") else 0


def _tag_end(text: str, place: int, finder: _Finder) -> int:
    """After the ">" of a tag; 0 where there is none."""
    if ">" in finder.missing:
        return 0
    found = _ATTRIBUTES.match(text, place, place + _MAX_TAG_CHARS)
    return found.end() if found else finder.after(">", place)


def _content_end(text: str, name: str, end: int, finder: _Finder) -> int:
    """Where a hidden element ends; what is not closed is hidden to the end where browsers hide it so."""
    close = finder.after(f"</{name}", end)
    if close:
        return finder.after(">", close) or len(text)
    if name == "head":
        body = finder.after("<body", end)
        return body - len("<body") if body else end
    return len(text) if name in ("script", "style") else end
