"""Which format a file has: by its first bytes, then by what it is declared as, then by its name."""

from __future__ import annotations

from pathlib import PurePath

from .types import Refused

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MEDIA_TYPES = {"text": "text/plain", "markdown": "text/markdown", "html": "text/html", "pdf": PDF, "docx": DOCX}
ACCEPTED = "text, Markdown, HTML, PDF and DOCX"
SNIFFED_BYTES = 8192

BY_TYPE = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    "text/x-markdown": "markdown",
    "application/xhtml+xml": "html",
}
BY_SUFFIX = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
    ".docx": "docx",
}
TEXT_TYPES = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/toml", "application/x-ndjson"}
    | {"application/javascript", "application/x-sh", "application/sql"}
)
UNSAID = frozenset({"", "application/octet-stream", "binary/octet-stream"})
OTHERS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.doc, .xls): save it as .docx or PDF"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"OggS", "a sound file"),
    (b"ID3", "a sound file"),
)


def find_format(head: bytes, *, declared: str, filename: str) -> str:
    """A key of MEDIA_TYPES. head: the file's first SNIFFED_BYTES. Raises Refused for what is none of them.

    A declaration that the bytes contradict is refused, not corrected: one of the two is a mistake.
    """
    declared = declared.partition(";")[0].strip().lower()
    suffix = PurePath(filename).suffix.lower()
    vague = declared in UNSAID or declared == "text/plain"  # as browsers say of what they do not know
    said = BY_TYPE.get(declared)
    if vague:
        said = BY_SUFFIX.get(suffix) or said
    found = "pdf" if b"%PDF-" in head[:1024] else None
    if head.startswith(b"PK\x03\x04") and said == "docx":
        found = "docx"
    if found:
        if said in (None, found):
            return found
        raise Refused(f"the file is declared as {MEDIA_TYPES[str(said)]}, but it is {_article(found)}")
    if said in ("pdf", "docx"):
        raise Refused(f"the file is declared as {_article(str(said))}, but it does not begin like one")
    for magic, name in OTHERS:
        if head.startswith(magic):
            raise Refused(f"the file is {name}; accepted are {ACCEPTED}")
    if said:
        return said
    if declared in UNSAID or declared.startswith("text/") or declared in TEXT_TYPES:
        return "text"
    raise Refused(f"the media type {declared[:80]!r} is not accepted; accepted are {ACCEPTED}")


def _article(name: str) -> str:
    return {"pdf": "a PDF", "docx": "a DOCX"}.get(name, name)
