"""Markdown: bullets, under a heading for each date where they are grouped."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Entry, Format, Rendered, Section, Writer, indent, runs


def item(entry: Entry, grouped: bool) -> str:
    return f"- {indent(entry.text if grouped else f'{entry.date} {entry.text}', '  ')}\n"


def heading(entry: Entry) -> str:
    return f"## {entry.date}\n"


def section(section: Section) -> str:
    return f"# {section.name.capitalize()}\n" + "".join(f"- {indent(line, '  ')}\n" for line in section.lines)


def render(entries: Sequence[Entry], sections: Sequence[Section], grouped: bool, sections_last: bool) -> Rendered:
    writer = Writer()
    if not sections_last:
        for one in sections:
            writer.write(section(one))
        if sections and entries:
            writer.write("# Memories\n")
    for run in runs(entries, grouped):
        if grouped:
            writer.write(heading(run[0]))
        for entry in run:
            writer.write_entry(item(entry, grouped).removesuffix("\n"))
            writer.write("\n")
    if sections_last:
        for one in sections:
            writer.write(section(one))
    return writer.rendered()


MARKDOWN = Format("markdown", render, item, heading, section)
