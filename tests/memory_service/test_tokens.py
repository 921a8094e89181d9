"""Token counts: the bundled tokenizers, the operator's, and the estimate, without the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tokenizers import Tokenizer as HuggingFace
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from memory_service import sample, tokens
from memory_service.tokens import tokenizer_for

SAID = [message["content"] for one in sample.load() for message in one["messages"]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    for cached in (tokens._named, tokens._from_tiktoken, tokens._from_file, tokens._estimators):
        cached.cache_clear()
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("model", "name", "exact"),
    [
        (None, "o200k_base", True),
        ("openai/gpt-4o", "o200k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("azure/gpt-4-turbo", "cl100k_base", True),
        ("cl100k_base", "cl100k_base", True),
        ("claude-2", "claude-2", True),
        ("embedding", "all-MiniLM-L6-v2", True),
        ("anthropic/claude-sonnet-4", "estimate", False),
        ("gemini/gemini-2.0-flash", "estimate", False),
        ("no such model", "estimate", False),
        ("gpt2", "estimate", False),  # an encoding whose file is not here
    ],
)
def test_it_counts_by_the_models_tokenizer(model: str | None, name: str, exact: bool) -> None:
    found = tokenizer_for(model)
    assert (found.name, found.exact) == (name, exact)
    assert found.count("") == 0 and 3 <= found.count("Hello, my friend!") <= 10


def test_it_counts_as_the_tokenizer_itself_does() -> None:
    encoding = tiktoken.get_encoding("o200k_base")
    for text in [*SAID, "<|endoftext|>", "a\n" * 30_000, "x" * 60_000]:
        counted, real = tokenizer_for("gpt-4o").count(text), len(encoding.encode_ordinary(text))
        assert counted == real or (len(text) > 50_000 and "\n" not in text and real <= counted <= real + 4)


def test_the_estimate_is_not_too_low_for_a_tokenizer_that_it_does_not_know() -> None:
    for text in SAID:
        real = tokenizer_for("p50k_base").count(text)
        assert real <= tokens.estimate(text) <= 2.5 * real + 3


def test_it_uses_the_operators_tokenizers_and_no_other_file(settings: Any, tmp_path: Path) -> None:
    tokenizer = HuggingFace(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    folder = tmp_path / "tokenizers"
    (folder / "ollama" / "llama3").mkdir(parents=True)
    tokenizer.save(str(folder / "ollama" / "llama3" / "tokenizer.json"))
    tokenizer.save(str(folder / "mine.json"))
    tokenizer.save(str(tmp_path / "outside.json"))
    settings.ENV = settings.ENV.model_copy(update={"tokenizers_dir": str(folder)})
    for model in ("ollama/llama3", "mine"):
        assert (tokenizer_for(model).name, tokenizer_for(model).count("one two three")) == (model, 3)
    for model in ("../outside", "a/../../outside", str(tmp_path / "outside"), "outside", "mine\n"):
        assert tokenizer_for(model).name == "estimate"


def test_it_takes_the_services_model_where_none_is_named(settings: Any) -> None:
    settings.ENV = settings.ENV.model_copy(update={"llm_model": "openai/gpt-4"})
    assert tokenizer_for().name == "cl100k_base"


def test_without_its_files_it_counts_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tokens, "_litellm_folder", lambda: tmp_path)
    found = tokenizer_for("gpt-4o")
    assert (found.name, found.exact, found.count("123456789")) == ("estimate", False, 3)
    tokens._estimators.cache_clear()
    tokens._named.cache_clear()
