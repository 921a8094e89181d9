"""Tokens as a language model counts them, where its tokenizer is at hand: LiteLLM brings OpenAI's in its package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

ENCODING = "cl100k_base"
ADDRESS = f"https://openaipublic.blob.core.windows.net/encodings/{ENCODING}.tiktoken"  # names the file, is not read


@lru_cache(maxsize=1)
def encoding() -> Any:
    """tiktoken's encoding; None where its file is not here. Nothing is fetched."""
    spec = importlib.util.find_spec("litellm")
    for folder in spec.submodule_search_locations or () if spec else ():
        folder_of_files = Path(folder) / "litellm_core_utils" / "tokenizers"
        if (folder_of_files / hashlib.sha1(ADDRESS.encode()).hexdigest()).exists():
            return _load(folder_of_files)
    return None


def _load(folder: Path) -> Any:
    import tiktoken

    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        return tiktoken.get_encoding(ENCODING)
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def tokenizer_name() -> str | None:
    return ENCODING if encoding() else None


def count_tokens(text: str) -> int | None:
    """None where no tokenizer is at hand."""
    found = encoding()
    return max(1, len(found.encode_ordinary(text))) if found else None
