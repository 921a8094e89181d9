"""PDF, by pdfium, page by page: a page's text is given away before the next is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .types import Head, Limits, Piece, Refused, clean_title, storable

PAGE_END = "\n\n"
HYPHENATED = re.compile("[\ufffe\u0002](?:\r?\n)?")  # pdfium's mark for a word that goes on in the next line
MAX_PAGE_CHARS = 1_000_000


def parse(path: Path, limits: Limits, skip: int) -> Iterator[Head | Piece]:
    document = _open(path)
    num_pages = len(document)
    if num_pages > limits.max_pages:
        raise Refused(f"the PDF has {num_pages} pages: at most {limits.max_pages} are accepted")
    yield Head(num_pages, clean_title(_title(document)))
    num_chars = 0
    for number in range(skip, num_pages):
        text = _text(document, number)
        num_chars += len(text)
        if num_chars > limits.max_chars:
            raise Refused(f"the text has over {limits.max_chars} characters: at most so many are accepted")
        yield Piece(text + PAGE_END, number + 1)
    document.close()


def _open(path: Path) -> Any:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as exc:
        if "password" in str(exc).lower():
            raise Refused("the PDF is encrypted: save it without a password") from exc
        raise Refused("the PDF is damaged or cut short: it cannot be opened") from exc


def _title(document: Any) -> str:
    return str(document.get_metadata_dict(skip_empty=True).get("Title", ""))


def _text(document: Any, number: int) -> str:
    """Empty for a page that cannot be read: the others are worth having."""
    import pypdfium2

    try:
        page = document[number]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        if text_page.count_chars() > MAX_PAGE_CHARS:
            raise Refused(f"page {number + 1} has over {MAX_PAGE_CHARS} characters: it is not a page to be read")
        text: str = text_page.get_text_bounded()
    finally:
        text_page.close()
        page.close()
    return storable(HYPHENATED.sub("", text).replace("\r\n", "\n").replace("\r", "\n")).strip()
