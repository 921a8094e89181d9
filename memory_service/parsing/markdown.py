"""Markdown: it stays as it was written; its title is its first heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .text import read_text
from .types import Head, Limits, Piece, clean_title, in_pieces

FRONT_TITLE = re.compile(r"\A---\r?\n(?:.*\r?\n)*?title:[ \t]*[\"']?(.+?)[\"']?[ \t]*\r?\n(?:.*\r?\n)*?---", re.I)
HEADING = re.compile(r"^#{1,2}[ \t]+(.+?)[ \t#]*$|^(\S.*)\r?\n=+[ \t]*$", re.MULTILINE)
SEARCHED_CHARS = 20_000


def parse(path: Path, limits: Limits, skip: int) -> Iterator[Head | Piece]:
    text = read_text(path, limits)
    yield Head(title=find_title(text))
    yield from in_pieces(text, skip)


def find_title(text: str) -> str:
    """Of its front matter, or its first heading; empty where it has neither."""
    beginning = text[:SEARCHED_CHARS]
    found = FRONT_TITLE.search(beginning) or HEADING.search(beginning)
    return clean_title(next((group for group in found.groups() if group), "")) if found else ""
