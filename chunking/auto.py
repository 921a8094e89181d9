"""The strategy of structure that suits a document, by its name, its media type and its looks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

from .balanced import DEFAULT_TARGET_TOKENS, LARGEST, split_balanced
from .code import LANGUAGES, guess_language, split_code
from .conversation import conversation_turns, split_conversation
from .cuts import DEFAULT_MAX_TOKENS, check_count
from .html import split_html
from .markdown import split_markdown
from .recursive import split_recursive
from .tokens import Tokenize
from .types import Chunk, Embed

SAMPLE_CHARS = 50_000
_BY_EXTENSION = {
    **dict.fromkeys(("md", "markdown", "mdx", "mkd", "qmd", "rmd"), "markdown"),
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("txt", "text", "log", "rst", "srt", "vtt", "json", "jsonl", "ndjson"), ""),  # as they look
}
_BY_MEDIA_TYPE = {
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/css": "code",
    "text/javascript": "code",
    "application/javascript": "code",
    "application/sql": "code",
    "application/x-sh": "code",
}
_CODE_TYPE = re.compile(r"text/x-(?!markdown)|application/x-(?:python|ruby|perl|php|sh|typescript|yaml)")
_HTML = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_HTML_TAGS = re.compile(r"</?(?:p|div|span|ul|ol|li|table|tr|td|h[1-6]|a|br|section|article)\b[^<>]*>", re.IGNORECASE)
_MARKDOWN = re.compile(
    r"^(?:#{1,6} \S|```|~~~|[-*+] \S|\d{1,3}\. \S|\|.*\|[ \t]*$|> \S)|^(?:=|-){3,}[ \t]*$"
    r"|\[[^\]\n]+\]\([^)\s]+\)|\*\*\S",
    re.MULTILINE,
)
_SURE_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\|[ :|-]+\|[ \t]*$)", re.MULTILINE)
_CODE_LINE = re.compile(
    r"[;{}][ \t]*$|^[ \t]*\w[\w.]* = \S|^[ \t]*(?:def |class |import |from \w[\w.]* import|return\b|if .*:$|for .*:$"
    r"|else:|function |const |let |var |public |private |static |#include|package |using |fn |func |impl |end$|\}|\)"
    r"|@\w+|//|/\*)",
    re.MULTILINE,
)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_CODE_SHARE = 0.25  # of the lines
_LANGUAGE_MARKS = {
    "python": re.compile(r"^[ \t]*(?:def \w+\(.*|class \w+.*|(?:el)?if .*):[ \t]*$|^from [\w.]+ import ", re.MULTILINE),
    "javascript": re.compile(r"\b(?:const|let) \w+ = |=> \{|\bfunction \w*\(|require\(|===", re.MULTILINE),
    "java": re.compile(r"^(?:import java|package )[\w.]+;|\bpublic (?:static )?(?:class|void|String)\b", re.MULTILINE),
    "c": re.compile(r"^#include [<\"]|\bint main\(|->\w+|\bstruct \w+ \{", re.MULTILINE),
    "go": re.compile(r"^package \w+$|^func [\w(]|:= ", re.MULTILINE),
    "rust": re.compile(r"\bfn \w+[(<]|\blet mut |\bimpl\b.*\{|::<|&mut ", re.MULTILINE),
    "ruby": re.compile(r"^[ \t]*(?:def \w+[^:]*|end|require ['\"].*|module \w+)$", re.MULTILINE),
    "php": re.compile(r"<\?php|\$\w+ = |\$this->"),
    "bash": re.compile(r"^(?:#!.*sh|fi|done|esac)$|\$\{\w+\}|^[ \t]*echo ", re.MULTILINE),
}  # fmt: skip


def split_auto(
    text: str,
    *,
    tokenize: Tokenize | None = None,
    embed: Embed | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    filename: str | None = None,
    media_type: str | None = None,
) -> list[Chunk]:
    """By the strategy that `choose_strategy` names; plain text by "balanced", or "recursive" without an embedder."""
    strategy = choose_strategy(text, filename=filename, media_type=media_type)
    if strategy == "markdown":
        return split_markdown(text, tokenize=tokenize, max_tokens=max_tokens)
    if strategy == "html":
        return split_html(text, tokenize=tokenize, max_tokens=max_tokens)
    if strategy == "code":
        language = guess_language(text[:SAMPLE_CHARS], filename=filename) or language_by_looks(text)
        return split_code(text, tokenize=tokenize, max_tokens=max_tokens, language=language)
    if strategy == "conversation":
        return split_conversation(text, tokenize=tokenize, max_tokens=max_tokens)
    if embed is None:
        return split_recursive(text, tokenize=tokenize, max_tokens=max_tokens)
    check_count("max_tokens", max_tokens, low=1)
    target_tokens = max(1, min(DEFAULT_TARGET_TOKENS, int(max_tokens / LARGEST)))
    return split_balanced(text, embed=embed, tokenize=tokenize, target_tokens=target_tokens)


def choose_strategy(text: str, *, filename: str | None = None, media_type: str | None = None) -> str:
    """One of markdown, html, code, conversation, text: by the file's name, else its media type, else its looks.

    Raises ValueError for a filename or a media type that is not text.
    """
    for name, value in (("filename", filename), ("media_type", media_type)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name}={value!r} must be text")
    return _by_filename(filename or "") or _by_media_type(media_type or "") or _by_looks(text[:SAMPLE_CHARS])


def _by_filename(filename: str) -> str:
    path = PurePosixPath(filename.replace("\\", "/").lower())
    extension = path.suffix[1:]
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    return "code" if extension in LANGUAGES or path.name in LANGUAGES else ""


def _by_media_type(media_type: str) -> str:
    plain = media_type.split(";")[0].strip().lower()
    return _BY_MEDIA_TYPE.get(plain) or ("code" if _CODE_TYPE.match(plain) else "")


def _by_looks(sample: str) -> str:
    if _HTML.match(sample):
        return "html"
    if guess_language(sample):
        return "code"
    lines = max(1, sum(1 for line in sample.splitlines() if line.strip()))
    tags = sum(1 for _ in _HTML_TAGS.finditer(sample))
    if tags >= 3 and tags >= lines / 3 and sample.lstrip()[:1] == "<":
        return "html"
    if _is_conversation(sample, lines):
        return "conversation"
    marks = sum(1 for _ in _MARKDOWN.finditer(sample))
    sure = sum(1 for _ in _SURE_MARKDOWN.finditer(sample))
    code = sum(1 for _ in _CODE_LINE.finditer(sample))
    if code >= _CODE_SHARE * lines and lines >= 3 and not _FENCE.search(sample):
        return "code"
    if marks >= 2 and (sure or marks >= lines / 5):
        return "markdown"
    return "text"


def _is_conversation(sample: str, lines: int) -> bool:
    """Two speakers or more, who take turns, and who say most of it."""
    turns = conversation_turns(sample)
    speakers = Counter(turn.speaker.lower() for turn in turns)
    if len(turns) < 2 or len(speakers) < 2 or len(speakers) > max(2, len(turns) // 2 + 1):
        return False
    if sample.lstrip("\ufeff \t\r\n")[:1] in ("[", "{"):
        return True
    return turns[0].start < len(sample) / 4 and len(turns) >= lines / 8


def language_by_looks(text: str) -> str | None:
    """The language whose marks a text has most of; None where there are none."""
    sample = text[:SAMPLE_CHARS]
    counts = {name: sum(1 for _ in pattern.finditer(sample)) for name, pattern in _LANGUAGE_MARKS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None
