"""How many tokens a text is, by the tokenizer of the model that will read it. Nothing is fetched.

    o200k_base, cl100k_base, p50k_base   OpenAI's, from the files that LiteLLM's package brings along
    claude-2                             Anthropic's, from the same place; it is that of Claude 2 and before
    embedding                            the embedding model's own
    a name under TOKENIZERS_DIR          a Hugging Face tokenizer.json that the operator put there
    estimate                             for every other model: more than any tokenizer tried would count

docs/context.md has the estimate's error, measured.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from .embedding import BUNDLED_MODEL, bundled_folder

DEFAULT = "o200k_base"  # where neither the request nor the service names a model: OpenAI's current one
BUNDLED = ("o200k_base", "cl100k_base", "p50k_base")
ENCODING_URL = (
    "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"  # tiktoken names its files by its hash
)
ESTIMATE = "estimate"
EMBEDDING = "embedding"
SLICE_CHARS = 20_000  # texts are counted in pieces: some tokenizers take long over one word without end
SAFE_NAME = re.compile(r"[\w][\w.-]*(?:/[\w][\w.-]*)?", re.ASCII)

# The estimate: the most that any of these counts, and a fifth more.
ESTIMATED_FROM = ("o200k_base", "cl100k_base", "claude-2")
ESTIMATE_MARGIN = 1.2
BYTES_A_TOKEN = 3  # where none of their files is there


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """exact: the named model counts so. An inexact one counts too many, not too few."""

    name: str
    exact: bool
    count_slice: Callable[[str], int]

    def count(self, text: str) -> int:
        return sum(map(self.count_slice, _slices(text)))


def _slices(text: str) -> list[str]:
    """Cut after line breaks, where no token spans a cut, and inside a line only where it has no end."""
    if len(text) <= SLICE_CHARS:
        return [text]
    found, start = [], 0
    while start < len(text):
        end = start + SLICE_CHARS
        if end < len(text):
            end = text.rfind("\n", start, end) + 1 or end
        found.append(text[start:end])
        start = end
    return found


def tokenizer_for(model: str | None = None) -> Tokenizer:
    """model: LiteLLM's name ("openai/gpt-4o"), an encoding's, or one of the names above; None: LLM_MODEL's, or DEFAULT.

    An unknown name gets the estimate, which says of itself that it is one.
    """
    return _named(model or settings.ENV.llm_model or DEFAULT, str(settings.ENV.tokenizers_dir or ""))


@lru_cache(maxsize=256)
def _named(model: str, folder: str) -> Tokenizer:
    if model == ESTIMATE:
        return Tokenizer(ESTIMATE, False, estimate)
    if model == EMBEDDING or model == settings.ENV.embedding_model:
        path = _embedding_file()
        return _from_file(str(path), Path(settings.ENV.embedding_model).name) if path else _named(ESTIMATE, folder)
    path = _operators_file(model, folder)
    if path:
        return _from_file(str(path), model)
    encoding = model if model in BUNDLED else _openai_encoding(model)
    if encoding and _bundled_file(encoding):
        return _from_tiktoken(encoding)
    if (
        re.search(r"\bclaude-(?:2|instant)", model)
        and (path := _litellm_folder() / "anthropic_tokenizer.json").exists()
    ):
        return _from_file(str(path), "claude-2")
    return _named(ESTIMATE, folder)


def estimate(text: str) -> int:
    """For a model whose tokenizer is not here: meant as an upper bound."""
    known = _estimators()
    if not known:
        return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)
    return math.ceil(ESTIMATE_MARGIN * max(tokenizer.count_slice(text) for tokenizer in known))


@lru_cache(maxsize=1)
def _estimators() -> list[Tokenizer]:
    return [tokenizer for tokenizer in map(tokenizer_for, ESTIMATED_FROM) if tokenizer.exact]


# Where the files are


@lru_cache(maxsize=1)
def _litellm_folder() -> Path:
    """LiteLLM is not imported for it: that takes seconds."""
    spec = importlib.util.find_spec("litellm")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0] if places else "litellm") / "litellm_core_utils" / "tokenizers"


def _bundled_file(encoding: str) -> Path | None:
    name = hashlib.sha1(ENCODING_URL.format(encoding).encode(), usedforsecurity=False).hexdigest()
    path = _litellm_folder() / name
    return path if path.exists() else None


def _openai_encoding(model: str) -> str | None:
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return None


@lru_cache(maxsize=len(BUNDLED))
def _from_tiktoken(encoding: str) -> Tokenizer:
    path = _bundled_file(encoding)
    assert path  # the caller looked
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(path.parent))  # as LiteLLM sets it; else tiktoken asks the network
    import tiktoken

    # Special tokens ("<|endoftext|>") are text here: whoever says them in a message is quoted.
    encode = tiktoken.get_encoding(encoding).encode_ordinary
    return Tokenizer(encoding, True, lambda text: len(encode(text)))


def _embedding_file() -> Path | None:
    name = settings.ENV.embedding_model
    folder = bundled_folder() if name == BUNDLED_MODEL else Path(name)
    path = folder / "tokenizer.json"
    return path if path.exists() else None


def _operators_file(model: str, folder: str) -> Path | None:
    """TOKENIZERS_DIR/<model>/tokenizer.json or <model>.json. The name comes with a request: it may not climb out."""
    if not folder or not SAFE_NAME.fullmatch(model):
        return None
    found = (Path(folder) / model / "tokenizer.json", Path(folder) / f"{model}.json")
    return next((path for path in found if path.is_file()), None)


@lru_cache(maxsize=8)
def _from_file(path: str, name: str) -> Tokenizer:
    from tokenizers import Tokenizer as HuggingFace

    read: Any = HuggingFace.from_file(path)
    read.no_truncation()
    read.no_padding()
    return Tokenizer(name, True, lambda text: len(read.encode(text, add_special_tokens=False).ids))
