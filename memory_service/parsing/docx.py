"""DOCX -> text like Markdown: headings, lists and tables keep their shape."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .types import Head, Limits, Piece, Refused, clean_title, in_pieces, storable

HEADING = re.compile(r"heading (\d)", re.I)
MAX_UNPACKED = 20  # times what may be sent: XML packs well, but not that well
MAX_FILES = 10_000
BODY = "word/document.xml"


def parse(path: Path, limits: Limits, skip: int) -> Iterator[Head | Piece]:
    _check_archive(path, limits)
    document = _open(path)
    text = storable("".join(_blocks(document)))
    if len(text) > limits.max_chars:
        raise Refused(f"the text has {len(text)} characters: at most {limits.max_chars} are accepted")
    yield Head(title=clean_title(document.core_properties.title))
    yield from in_pieces(text, skip)


def _check_archive(path: Path, limits: Limits) -> None:
    """What it says of its size; what it does not say, the limit on memory stops."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
        raise Refused("the DOCX is damaged or cut short: it is no readable archive") from exc
    if any(one.flag_bits & 1 for one in files):
        raise Refused("the DOCX is encrypted: save it without a password")
    unpacked = sum(one.file_size for one in files)
    if len(files) > MAX_FILES or unpacked > MAX_UNPACKED * limits.max_bytes:
        raise Refused(f"the DOCX unpacks to {unpacked // 2**20} MB in {len(files)} files: that is no document")
    if BODY not in {one.filename for one in files}:
        raise Refused("the file is a ZIP archive, but no DOCX: it has no word/document.xml")


def _open(path: Path) -> Any:
    import docx

    try:
        return docx.Document(str(path))
    except MemoryError:
        raise
    except Exception as exc:
        raise Refused(f"the DOCX is damaged: it cannot be read ({type(exc).__name__})") from exc


def _blocks(document: Any) -> Iterator[str]:
    from docx.table import Table

    in_list = False
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield "\n" * in_list + _table(block)
            in_list = False
            continue
        text = block.text.strip()
        if not text:
            continue
        style = (block.style.name if block.style is not None else "") or ""
        heading = HEADING.match(style)
        is_item = style.startswith("List") or block._p.find(".//{*}numPr") is not None
        if in_list and not is_item:
            yield "\n"
        in_list = is_item and not heading
        if style == "Title" or heading:
            yield f"{'#' * (int(heading[1]) if heading else 1)} {' '.join(text.split())}\n\n"
        elif is_item:
            yield f"- {text}\n"
        else:
            yield f"{text}\n\n"


def _table(table: Any) -> str:
    rows = [[" ".join(cell.text.split()).replace("|", "\\|") for cell in row.cells] for row in table.rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    width = max(map(len, rows))
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in rows]
    lines.insert(1, f"|{' --- |' * width}")
    return "\n".join(lines) + "\n\n"
