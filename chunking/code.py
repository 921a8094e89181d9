"""Source code by its syntax: functions and classes whole while they fit, with their comments and decorators."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from .blocks import MAX_TITLE_CHARS, Block, Path, code_cut, pack
from .cuts import DEFAULT_MAX_TOKENS, check_count, walk
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk

LANGUAGES = {
    "py": "python", "pyi": "python", "pyw": "python", "js": "javascript", "mjs": "javascript",
    "cjs": "javascript", "jsx": "javascript", "ts": "typescript", "mts": "typescript", "cts": "typescript",
    "tsx": "tsx", "java": "java", "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "hpp": "cpp",
    "hh": "cpp", "cs": "csharp", "go": "go", "rs": "rust", "rb": "ruby", "php": "php", "swift": "swift",
    "kt": "kotlin", "kts": "kotlin", "scala": "scala", "lua": "lua", "pl": "perl", "pm": "perl", "r": "r",
    "jl": "julia", "hs": "haskell", "ml": "ocaml", "ex": "elixir", "exs": "elixir", "erl": "erlang",
    "clj": "clojure", "dart": "dart", "sh": "bash", "bash": "bash", "zsh": "bash", "ps1": "powershell",
    "sql": "sql", "css": "css", "scss": "scss", "vue": "vue", "svelte": "svelte", "zig": "zig", "tf": "hcl",
    "hcl": "hcl", "proto": "proto", "graphql": "graphql", "cmake": "cmake", "m": "objc", "groovy": "groovy",
    "gradle": "groovy", "sol": "solidity", "json": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml",
    "xml": "xml", "dockerfile": "dockerfile", "makefile": "make", "mk": "make",
}  # fmt: skip
"""The grammars by the extension of a file (or its whole name), in small letters."""

_ALIASES = {"c++": "cpp", "c#": "csharp", "shell": "bash", "golang": "go", "js": "javascript", "ts": "typescript"}
_SHEBANG = re.compile(r"#![^\n]*?\b(python|node|ruby|perl|php|lua|bash|sh|zsh|deno)[\d.]*\b")
_SHEBANG_LANGUAGES = {"node": "javascript", "deno": "typescript", "sh": "bash", "zsh": "bash"}
_BODIES = ("body", "class_body", "block", "declaration_list", "field_declaration_list", "members")
_INNER = ("definition", "declaration", "value")  # where decorators, exports and assignments keep what they are about
_MAX_INDENT = 1000
_MAX_DEPTH = 60  # deeper code is cut by lines: hostile text nests without end


def split_code(
    text: str,
    *,
    tokenize: Tokenize | None = None,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    language: str | None = None,
    filename: str | None = None,
) -> list[Chunk]:
    """As many definitions as fit, each whole if it fits; a longer one is cut between its members or statements.

    language: a grammar's name as tree-sitter has it, or an extension; else it is told by filename or a first line
    "#!...". Code in no known language is cut at blank lines, the least indented first. Headings are the first lines
    of the classes and functions that a chunk is a part of. Raises ValueError for a language that is not text.
    """
    check_count("max_tokens", max_tokens, low=1)
    grammar = guess_language(text, language=language, filename=filename)
    document = tokenized(text, tokenize)
    if not text:
        return []
    parser = _parser(grammar) if grammar else None
    if parser is None:
        spans = list(walk(document, code_cut(max_tokens=max_tokens)))
        return [document.chunk(*span, kind="code") for span in spans]
    blocks = _Syntax(document, max_tokens).blocks(parser.parse(text.encode("utf-8", "surrogatepass")))
    return pack(document, blocks, max_tokens=max_tokens)


def guess_language(text: str, *, language: str | None = None, filename: str | None = None) -> str | None:
    """The grammar's name, or None. Raises ValueError for a language or a filename that is not text."""
    for name, value in (("language", language), ("filename", filename)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name}={value!r} must be text")
    if language:
        lower = language.strip().lower()
        return _ALIASES.get(lower) or LANGUAGES.get(lower, lower)
    if filename:
        path = PurePosixPath(filename.replace("\\", "/").lower())
        found = LANGUAGES.get(path.suffix[1:]) or LANGUAGES.get(path.name)
        if found:
            return found
    shebang = _SHEBANG.match(text)
    return _SHEBANG_LANGUAGES.get(shebang[1], shebang[1]) if shebang else None


@lru_cache(maxsize=64)
def _parser(language: str) -> Any:
    """None for a language that has no grammar here. Slow to load, so loaded where it is used."""
    from tree_sitter_language_pack import get_parser

    try:
        return get_parser(language)  # type: ignore[arg-type]
    except LookupError:
        return None


class _Syntax:
    """A syntax tree as blocks: nodes that fit, and the parts of those that do not."""

    def __init__(self, document: TokenizedText, max_tokens: int) -> None:
        self.document, self.max_tokens = document, max_tokens
        self.place = _char_places(document.text)
        self.found: list[Block] = []

    def blocks(self, tree: Any) -> list[Block]:
        self._children(tree.root_node, (), 0)
        return self.found or [Block(0, "code")]

    def _children(self, node: Any, path: Path, depth: int) -> None:
        end = self.place(node.end_byte)
        children = node.children
        starts = [self._line_start(self.place(child.start_byte)) for child in children]
        ends = [*starts[1:], end]
        counts = self.document.count_spans(list(zip(starts, ends, strict=True))).tolist()
        for child, start, count in zip(children, starts, counts, strict=True):
            if "comment" in child.type and not self._begins_line(start):
                continue  # it stays with what it stands behind
            if count <= self.max_tokens or depth >= _MAX_DEPTH or not child.child_count:
                self._add(start, path, glued="comment" in child.type)
            else:
                self._split(child, start, path, depth + 1)

    def _split(self, node: Any, start: int, path: Path, depth: int) -> None:
        """The parts of a node that does not fit: of a definition its header, which stays with its first member."""
        definition = _definition(node)
        body = next((part for name in _BODIES if (part := definition.child_by_field_name(name))), None)
        if body is None or body.start_byte <= node.start_byte:
            self._children(node, path, depth)
            return
        begin = self._line_start(self.place(body.start_byte))
        self._add(start, path, glued=True)
        inner = (*path, self._header(definition.start_byte, body.start_byte))
        first = len(self.found)
        self._children(body, inner, depth)
        if len(self.found) > first and self.found[first].start <= max(start, begin) and begin <= start:
            del self.found[first]  # the body begins on the header's line
        for rest in node.children:
            if rest.start_byte >= body.end_byte:
                self._add(self._line_start(self.place(rest.start_byte)), path)

    def _add(self, start: int, path: Path, *, glued: bool = False) -> None:
        if not self.found or start > self.found[-1].start:
            self.found.append(Block(start, "code", path, glued=glued))

    def _begins_line(self, place: int) -> bool:
        return not place or self.document.text[place - 1] in "\r\n"

    def _line_start(self, place: int) -> int:
        """The start of the line, where nothing but indentation stands before the place."""
        text = self.document.text
        line = place
        while line and place - line < _MAX_INDENT and text[line - 1] in " \t":
            line -= 1
        return line if not line or text[line - 1] in "\r\n" else place

    def _header(self, start_byte: int, end_byte: int) -> str:
        header = self.document.text[self.place(start_byte) : self.place(end_byte)]
        return " ".join(header.split()).rstrip("{: ")[:MAX_TITLE_CHARS]


def _definition(node: Any) -> Any:
    """What a decorator, an export or an assignment is about."""
    for _ in range(4):
        inner = next((part for name in _INNER if (part := node.child_by_field_name(name))), None)
        if inner is None:
            return node
        node = inner
    return node


def _char_places(text: str) -> Callable[[int], int]:
    """byte of the UTF-8 text -> character."""
    if text.isascii():
        return lambda byte: byte
    encoded = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    places = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum((encoded & 0xC0) != 0x80)])
    return lambda byte: int(places[byte])
