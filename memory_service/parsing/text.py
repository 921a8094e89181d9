"""Plain text: its encoding is found by its mark, by trying UTF-8, or by its letters (charset-normalizer)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from .types import Head, Limits, Piece, Refused, in_pieces, storable

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
MAX_CONTROL_SHARE = 0.001  # of the characters; more of them and it is no text
SAMPLE_BYTES = 200_000  # that charset-normalizer looks at


def parse(path: Path, limits: Limits, skip: int) -> Iterator[Head | Piece]:
    yield Head()
    yield from in_pieces(read_text(path, limits), skip)


def read_text(path: Path, limits: Limits) -> str:
    """Raises Refused for what is no text, or too long."""
    text = decode(path.read_bytes())
    if len(text) > limits.max_chars:
        raise Refused(f"the text has {len(text)} characters: at most {limits.max_chars} are accepted")
    return text


def decode(raw: bytes) -> str:
    """Line breaks stay as they are. Raises Refused where no encoding fits, or where control characters abound."""
    text = guess(raw)
    num_controls = sum(1 for _ in CONTROL.finditer(text))
    if num_controls > MAX_CONTROL_SHARE * len(text):
        raise Refused(f"the file is not text: {num_controls} of its {len(text)} characters are control characters")
    return storable(text)


def guess(raw: bytes) -> str:
    """By its mark, as UTF-8, or by its letters; whatever characters come of it."""
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError as exc:
                raise Refused(
                    f"the file begins as {encoding} does, and is not: {exc.reason} at byte {exc.start}"
                ) from exc
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    from charset_normalizer import from_bytes  # slow to load, and seldom needed

    found = from_bytes(raw[:SAMPLE_BYTES], chunk_size=1024)
    best = found.best()
    if best is None:
        raise Refused("the file's encoding is not known: send text as UTF-8")
    # Of encodings that fit as well, the one that most files have.
    likely = next((one for one in found if one.encoding == "cp1252" and one.chaos <= best.chaos), best)
    return raw.decode(likely.encoding, "replace")
