"""YAML 1.1 and 1.2, as PyYAML reads it: a list of {date, text}, or of {date, said: [text, ...]} where grouped."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from .types import Entry, Format, Rendered, Section, Writer, runs

# Stands in double quotes as it is, but for the quote and the backslash.
PRINTABLE = re.compile("[ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
ONE_LINE = 2**31


def scalar(text: str) -> str:
    """In double quotes, on one line. What the library would write; it is only asked where the text is unusual."""
    if PRINTABLE.fullmatch(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    drawn = yaml.dump(text, Dumper=yaml.SafeDumper, default_style='"', allow_unicode=True, width=ONE_LINE)
    return str(drawn).removesuffix("\n").removesuffix("\n...")


def item(entry: Entry, grouped: bool) -> str:
    if grouped:
        return f"  - {scalar(entry.text)}\n"
    return f"- date: {entry.date}\n  text: {scalar(entry.text)}\n"


def heading(entry: Entry) -> str:
    return f"- date: {entry.date}\n  said:\n"


def section(section: Section) -> str:
    return f"{section.name}:\n" + "".join(f"- {scalar(line)}\n" for line in section.lines)


def render(entries: Sequence[Entry], sections: Sequence[Section], grouped: bool, sections_last: bool) -> Rendered:
    writer = Writer()
    drawn = "".join(map(section, sections))
    if not sections_last:
        writer.write(drawn)
    if entries:
        writer.write("memories:\n")
    for run in runs(entries, grouped):
        if grouped:
            writer.write(heading(run[0]))
        for entry in run:
            writer.write_entry(item(entry, grouped).removesuffix("\n"))
            writer.write("\n")
    if sections_last:
        writer.write(drawn)
    return writer.rendered()


YAML = Format("yaml", render, item, heading, section)
