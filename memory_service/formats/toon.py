"""TOON (Token-Oriented Object Notation): one table of {date, text} for each part, dates in every row.

Written by toon-format, the official implementation (MIT, typed). docs/context.md says how it was checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import toon_format

from .types import Entry, Format, Rendered, Section, Writer


def _rows(entries: Sequence[Entry]) -> list[dict[str, str]]:
    return [{"date": entry.date, "text": entry.text} for entry in entries]


def item(entry: Entry, grouped: bool) -> str:
    return toon_format.dumps({"memories": _rows([entry])}).split("\n", 1)[1] + "\n"


def heading(entry: Entry) -> str:
    return ""


def section(section: Section) -> str:
    return toon_format.dumps({section.name: list(section.lines)}) + "\n"


def key_of(part: int) -> str:
    return "memories" if part == 1 else f"memories_{part}"


def render(entries: Sequence[Entry], sections: Sequence[Section], grouped: bool, sections_last: bool) -> Rendered:
    writer = Writer()
    drawn = "".join(map(section, sections))
    if not sections_last:
        writer.write(drawn)
    for part, members in groupby(entries, key=lambda entry: entry.part):
        head, *rows = toon_format.dumps({key_of(part): _rows(list(members))}).split("\n")
        writer.write(head + "\n")
        for row in rows:
            writer.write_entry(row)
            writer.write("\n")
    if sections_last:
        writer.write(drawn)
    return writer.rendered()


TOON = Format("toon", render, item, heading, section)
