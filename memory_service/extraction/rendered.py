"""The marks around recalled memories in a prompt, so that they are not remembered again as news."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

RENDER_OPEN = '<memory-context id="{block_id}">'
RENDER_CLOSE = "</memory-context>"

# Clients re-wrap, escape (also twice) and cut what they send back.
_LT, _GT = r"(?:<|&(?:amp;)*(?:lt|#0*60|#x0*3c);)", r"(?:>|&(?:amp;)*(?:gt|#0*62|#x0*3e);)"
_OPEN = rf"{_LT}\s*memory\s*-\s*context\b(?:(?!{_GT})[^<>]){{0,200}}(?:{_GT}|$)"
_CLOSE = rf"{_LT}\s*/\s*memory\s*-\s*context\s*(?:{_GT}|$)"
_MARK = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)


def render_block(lines: Iterable[str], *, block_id: str) -> str:
    """The lines between the markers, as they go into a prompt.

    A marker inside of a line (a user can write one) is defused, so that the block ends where we end it.
    Raises ValueError if block_id has other characters than letters, digits, "_", "-", "." and ":".
    """
    if not re.fullmatch(r"[\w.:-]+", block_id):
        raise ValueError(f'block_id={block_id!r}: only letters, digits, "_", "-", "." and ":" are accepted')
    body = [_MARK.sub("[memory context]", line) for line in lines]
    return "\n".join([RENDER_OPEN.format(block_id=block_id), *body, RENDER_CLOSE])


def strip_rendered(content: str) -> tuple[str, list[tuple[int, int]]]:
    """Blank out rendered blocks with spaces and return their [start, end) spans; the length stays.

    A block without an end reaches to the end of the content; a stray end marker is itself a span.
    """
    if "memory" not in content.lower():
        return content, []
    spans = list(_block_spans(content))
    pieces, position = [], 0
    for start, end in spans:
        pieces += [content[position:start], " " * (end - start)]
        position = end
    return "".join([*pieces, content[position:]]), spans


def _block_spans(content: str) -> Iterator[tuple[int, int]]:
    """One pass over the markers, so that a message full of them costs no more than its length."""
    depth, start = 0, 0
    for mark in _MARK.finditer(content):
        opens = mark.lastgroup == "open"
        if depth == 0:
            start = mark.start()
        depth = max(0, depth + (1 if opens else -1))
        if depth == 0:
            yield start, mark.end()
    if depth:
        yield start, len(content)
