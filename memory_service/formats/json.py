"""JSON without blanks, a line for each memory: {date, text}, or {date, said: [text, ...]} where grouped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .types import Entry, Format, Rendered, Section, Writer, runs


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def item(entry: Entry, grouped: bool) -> str:
    return (_write(entry.text) if grouped else _write({"date": entry.date, "text": entry.text})) + ",\n"


def heading(entry: Entry) -> str:
    return f'{{"date":"{entry.date}","said":[\n]}},\n'


def section(section: Section) -> str:
    return f"{_write(section.name)}:{_write(section.lines)},\n"


def render(entries: Sequence[Entry], sections: Sequence[Section], grouped: bool, sections_last: bool) -> Rendered:
    writer = Writer()
    writer.write("{")
    if not sections_last:
        for one in sections:
            writer.write(section(one))
    writer.write('"memories":[')
    for number, run in enumerate(runs(entries, grouped)):
        writer.write(",\n" if number else "\n")
        if grouped:
            writer.write(f'{{"date":"{run[0].date}","said":[\n')
        for place, entry in enumerate(run):
            writer.write(",\n" if place else "")
            writer.write_entry(item(entry, grouped).removesuffix(",\n"))
        writer.write("]}" if grouped else "")
    writer.write("]")
    if sections_last:
        for one in sections:
            writer.write(",\n" + section(one).removesuffix(",\n"))
    writer.write("}")
    return writer.rendered()


JSON = Format("json", render, item, heading, section)
