"""Plain text: a line for each memory; under a line with the date, moved in by one, where they are grouped."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Entry, Format, Rendered, Section, Writer, indent, runs


def item(entry: Entry, grouped: bool) -> str:
    return f"{' ' if grouped else entry.date + ' '}{indent(entry.text, '   ')}\n"


def heading(entry: Entry) -> str:
    return f"{entry.date}:\n"


def section(section: Section) -> str:
    return f"{section.name.capitalize()}:\n" + "".join(f" {indent(line, '   ')}\n" for line in section.lines)


def render(entries: Sequence[Entry], sections: Sequence[Section], grouped: bool, sections_last: bool) -> Rendered:
    writer = Writer()
    drawn = "".join(map(section, sections))
    if not sections_last:
        writer.write(drawn)
        if sections and entries and not grouped:
            writer.write("Memories:\n")
    for run in runs(entries, grouped):
        if grouped:
            writer.write(heading(run[0]))
        for entry in run:
            writer.write_entry(item(entry, grouped).removesuffix("\n"))
            writer.write("\n")
    if sections_last:
        writer.write(drawn)
    return writer.rendered()


PLAIN = Format("plain", render, item, heading, section)
