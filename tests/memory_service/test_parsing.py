"""Files into text, each in a process of its own: what is hostile ends it alone, with a sentence."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from memory_service.parsing import formats, html, markdown, text
from memory_service.parsing.runner import run_parser
from memory_service.parsing.types import Head, Limits, Piece, Refused

LIMITS = Limits(max_bytes=2**20, max_pages=50, max_chars=100_000, memory_mb=512, timeout_s=20)


def read(tmp_path: Path, name: str, raw: bytes, limits: Limits = LIMITS) -> tuple[Head, str]:
    path = tmp_path / "file"
    path.write_bytes(raw)
    found = list(run_parser(name, path, limits))
    head = next(one for one in found if isinstance(one, Head))
    return head, "".join(one.text for one in found if isinstance(one, Piece))


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, raw in files.items():
            packed.writestr(name.replace("__", "/").replace("_xml", ".xml"), raw)
    return buffer.getvalue()


def docx_with(body: bytes, prolog: bytes = b"") -> bytes:
    """A DOCX as Word writes it, with another body."""
    import docx

    plain = io.BytesIO()
    docx.Document().save(plain)
    buffer = io.BytesIO()
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for one in old.infolist():
            raw = old.read(one)
            if one.filename == "word/document.xml":
                name = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
                raw = (
                    b'<?xml version="1.0"?>'
                    + prolog
                    + b"<w:document "
                    + name
                    + b"><w:body>"
                    + body
                    + b"</w:body></w:document>"
                )
            packed.writestr(one.filename, raw)
    return buffer.getvalue()


def test_it_reads_markdown_with_its_title(tmp_path: Path) -> None:
    head, found = read(tmp_path, "markdown", b"---\ntitle: A plan\n---\n# Other\n\nText\r\n")
    assert (head.title, found) == ("A plan", "---\ntitle: A plan\n---\n# Other\n\nText\r\n")
    assert markdown.find_title("Words\n\n## Second level ##\n") == "Second level"
    assert markdown.find_title("Under\n=====\n") == "Under"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "shift_jis", "koi8-r"])
def test_it_reads_text_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    said = {
        "shift_jis": "日本語の文章を読む。これは試験です。" * 10,
        "koi8-r": "Съешь ещё этих мягких французских булок, да выпей же чаю. " * 10,
    }.get(encoding, "Die Größe der Straße überrascht: schöne Grüße aus Düsseldorf.")
    assert read(tmp_path, "text", said.encode(encoding))[1] == said


def test_it_makes_markdown_of_html() -> None:
    source = """<!doctype html><title>T &amp; U</title><nav>Menu</nav><h1>One</h1><p>A <b>bold</b>&nbsp;word<br>and more
    <ul><li>first<li>second<ol><li>inner</ol></ul><p>After.<table><tr><th>a|b<th>c<tr><td>1</table>
    <pre>def f():\n    return 1</pre><script>no()</script><style>no{}</style><svg><text>no</text></svg>"""
    title, found = html.to_markdown(source)
    assert title == "T & U"
    assert found == (
        "Menu\n\n# One\n\nA bold word\nand more\n\n- first\n- second\n  1. inner\n\nAfter.\n\n"
        "| a\\|b | c |\n| --- | --- |\n| 1 |  |\n\n```\ndef f():\n    return 1\n```\n"
    )


@pytest.mark.parametrize(
    "source",
    ["<div>" * 200_000 + "deep", "<" * 50_000, "<a " + 'b="c" ' * 20_000 + ">", "&" * 50_000, "<ul>" * 50_000 + "x"],
    ids=["deep", "angles", "attributes", "entities", "lists"],
)
def test_it_reads_broken_html_in_bounded_time(tmp_path: Path, source: str) -> None:
    read(tmp_path, "html", source.encode())


def test_it_reads_a_pages_encoding(tmp_path: Path) -> None:
    raw = '<meta charset="windows-1251"><p>Привет, мир'.encode("cp1251")
    assert read(tmp_path, "html", raw)[1] == "Привет, мир\n"


BILLION = b'<!DOCTYPE d [<!ENTITY a "%s">' % (b"ha" * 50) + b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(8)
)


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("text", b"\x00" * 10_000, "control characters"),
        ("text", bytes(range(256)) * 40, "encoding is not known|not text"),
        ("text", b"\xff\xfe\x00\xd8\x00\x00", "begins as"),
        ("text", b"x" * 200_000, "at most 100000"),
        ("pdf", b"%PDF-1.7\n" + b"garbage " * 1000, "damaged or cut short"),
        ("docx", b"PK\x03\x04" + b"\x00" * 100, "no readable archive"),
        ("docx", archive(hello=b"x"), "no word/document.xml"),
        ("docx", archive(word__document_xml=b"\x00" * 30_000_000), "unpacks to"),
        ("docx", archive(word__document_xml=b"<not-word/>"), "damaged"),
        ("docx", docx_with(b"<w:p>", b""), "damaged"),
    ],
)
def test_it_refuses_what_it_cannot_read(tmp_path: Path, name: str, raw: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        read(tmp_path, name, raw)


def test_it_is_not_blown_up_by_xml_entities(tmp_path: Path) -> None:
    body = b"<w:p><w:r><w:t>&i;</w:t></w:r></w:p><w:p><w:r><w:t>plain</w:t></w:r></w:p>"
    try:
        _, found = read(tmp_path, "docx", docx_with(body, BILLION + b"]>"))
    except Refused:
        return
    assert len(found) < 1_000


def test_it_refuses_an_encrypted_pdf(tmp_path: Path) -> None:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=StandardEncryption("secret", strength=128))
    canvas.drawString(50, 700, "hidden")
    canvas.save()
    with pytest.raises(Refused, match="encrypted"):
        read(tmp_path, "pdf", buffer.getvalue())


def test_it_ends_what_takes_too_much_memory(tmp_path: Path) -> None:
    from dataclasses import replace

    tight = replace(LIMITS, memory_mb=256, max_chars=10**9, max_bytes=10**9)
    with pytest.raises(Refused, match=r"memory|gave up|without an answer"):
        read(tmp_path, "html", b"<p>word</p>" * 8_000_000, tight)


def test_it_ends_what_takes_too_long(tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(Refused, match=r"longer than 0\.05 s"):
        read(tmp_path, "html", b"<p>word</p>" * 500_000, replace(LIMITS, timeout_s=0.05, max_chars=10**9))


def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"word " * 500_000)
    found = run_parser("text", path, Limits(10**8, 10, 10**8, 512, 60))
    next(found)
    found.close()
    import psutil

    mine = [one for one in psutil.Process(os.getpid()).children() if "parsing.child" in " ".join(one.cmdline())]
    assert mine == []


def test_it_leaves_out_the_pages_that_are_there(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path / "file.pdf"
    canvas = Canvas(str(path))
    for page in range(4):
        canvas.drawString(50, 700, f"page {page}")
        canvas.showPage()
    canvas.save()
    pieces: list[Any] = [one for one in run_parser("pdf", path, LIMITS, skip=2) if isinstance(one, Piece)]
    assert [one.page for one in pieces] == [3, 4]


@pytest.mark.parametrize(
    ("head", "declared", "filename", "expected"),
    [
        (b"%PDF-1.7", "", "x", "pdf"),
        (b"%PDF-1.7", "application/pdf", "", "pdf"),
        (b"PK\x03\x04", "", "a.DOCX", "docx"),
        (b"# T", "", "a.md", "markdown"),
        (b"# T", "text/plain", "a.md", "markdown"),
        (b"<p>", "text/html; charset=utf-8", "", "html"),
        (b"{}", "application/json", "a.json", "text"),
        (b"def f", "", "a.py", "text"),
        (b"x", "application/octet-stream", "", "text"),
    ],
)
def test_it_finds_the_format(head: bytes, declared: str, filename: str, expected: str) -> None:
    assert formats.find_format(head, declared=declared, filename=filename) == expected


def test_it_keeps_what_it_decodes_storable() -> None:
    assert text.decode(b"a\x00b" + b"c" * 5_000).startswith("ab")
