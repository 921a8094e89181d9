"""What a context is made of before it is text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One memory to be shown. date: "2023-05-08", when it was said. text: one or more lines; it says who speaks.

    part: entries of one part stand together; a format that counts its rows counts them part by part, so that a part
    that is complete never changes.
    """

    text: str
    date: str
    part: int = 1


@dataclass(frozen=True, slots=True)
class Section:
    """Short lines beside the memories: a summary, a profile, relations."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """spans: for each entry, in the order given, the [start, end) of what `text` shows of it."""

    text: str
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class Format:
    """render(entries, sections, grouped, sections_last) draws a whole context. grouped: entries that follow one another
    with the same date stand under it, and it is written once.

    item(entry, grouped), heading(entry) and section(section) are what each of them adds to the text at most, for
    counting before anything is drawn; heading is empty where entries of one date share nothing.
    """

    name: str
    render: Callable[[Sequence[Entry], Sequence[Section], bool, bool], Rendered]
    item: Callable[[Entry, bool], str]
    heading: Callable[[Entry], str]
    section: Callable[[Section], str]


class Writer:
    """Text in pieces that knows where it is."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.position = 0
        self.spans: list[Span] = []

    def write(self, text: str) -> None:
        self._parts.append(text)
        self.position += len(text)

    def write_entry(self, text: str) -> None:
        self.spans.append((self.position, self.position + len(text)))
        self.write(text)

    def rendered(self) -> Rendered:
        """Without the line break at the end, which no entry has inside its span."""
        return Rendered("".join(self._parts).rstrip("\n"), self.spans)


def runs(entries: Sequence[Entry], grouped: bool) -> list[list[Entry]]:
    """Entries that follow one another with the same date; one by one where they are not grouped."""
    found: list[list[Entry]] = []
    for entry in entries:
        if grouped and found and found[-1][0].date == entry.date:
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


def lines_of(text: str) -> list[str]:
    """With one kind of line break, and none at the ends."""
    return [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")]


def indent(text: str, by: str) -> str:
    """Every line after the first is moved in, so that no line of a memory stands where ours do."""
    first, *rest = lines_of(text)
    return "\n".join([first, *(by + line if line else "" for line in rest)])
