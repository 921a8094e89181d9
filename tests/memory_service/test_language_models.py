from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunking.margin import split_margin
from chunking.perplexity import split_perplexity
from memory_service import language_models
from memory_service.errors import LLMRejected, LLMUnavailable
from tests.accel.test_causal import save
from tests.llm import Start, scripted  # noqa: F401
from tests.scripted_llm import Body, Reply, Status, Text

TEXT = "The river rose. It was night. Nobody crossed it. The miller slept."


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(language_models, "_loaded", {})
    yield


def configure(settings: Any, name: str) -> None:
    settings.ENV = settings.ENV.model_copy(update={"chunking_lm": name})


def told(probabilities: dict[str, float]) -> Body:
    """A chat's answer of one token, as OpenAI tells its log-probabilities."""
    tops = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in probabilities.items()]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": next(iter(probabilities))},
        "finish_reason": "length",
        "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]},
    }
    return Body({"id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]})


def echoed(request: dict[str, Any]) -> Reply:
    """A completion of OpenAI's older kind: the prompt's words and one more, each of them a token."""
    prompt = request["prompt"]
    prompt = prompt[0] if isinstance(prompt, list) else prompt
    starts = [i for i, char in enumerate(prompt) if not char.isspace() and (i == 0 or prompt[i - 1].isspace())]
    words = [prompt[a:b] for a, b in zip(starts, [*starts[1:], len(prompt)], strict=True)]
    logs = [None, *(-float(len(word.strip())) for word in words[1:])]
    logprobs = {"tokens": [*words, "x"], "token_logprobs": [*logs, -9.0], "text_offset": [*starts, len(prompt)]}
    choice = {"index": 0, "text": prompt + "x", "finish_reason": "length", "logprobs": logprobs}
    return Body({"id": "1", "object": "text_completion", "created": 0, "model": "scripted", "choices": [choice]})


def test_it_gives_none_where_none_is_configured(settings: Any) -> None:
    assert language_models.losses() is None and language_models.choose() is None
    configure(settings, "llm")  # and LLM_MODEL is empty
    assert language_models.losses() is None and language_models.choose() is None


def test_it_loads_a_model_from_a_folder_once(settings: Any, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    configure(settings, save(tmp_path, lambda: LlamaForCausalLM(LlamaConfig(vocab_size=400, **sizes))))
    losses, choose = language_models.losses(), language_models.choose()
    assert losses and choose and language_models.local_model() is language_models.local_model()
    starts, nlls = losses("", TEXT)
    assert len(starts) == len(nlls) > 10
    assert "".join(chunk.text for chunk in split_perplexity(TEXT, losses=losses)) == TEXT
    assert "".join(chunk.text for chunk in split_margin(TEXT, choose=choose)) == TEXT


def test_it_gives_none_for_a_model_that_is_not_there(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    configure(settings, "/nowhere/at/all")
    assert language_models.losses() is None and language_models.choose() is None
    assert caplog.text.count("CHUNKING_LM=/nowhere/at/all could not be loaded") == 1


def test_it_weighs_options_by_the_server_of_llm_model(settings: Any, scripted: Start) -> None:  # noqa: F811
    llm = scripted([told({"2": 0.7, "1": 0.2, " 1": 0.05, "Two": 0.04})])
    configure(settings, "llm")
    choose = language_models.choose()
    assert choose is not None
    assert choose("1 or 2?", ["1", "2", "3"]) == pytest.approx([0.25, 0.7, 0.0])
    assert llm.requests[0]["logprobs"] is True and llm.requests[0]["max_tokens"] == 1


def test_it_scores_a_text_by_a_server_that_echoes(settings: Any, scripted: Start) -> None:  # noqa: F811
    llm = scripted(echoed)
    configure(settings, "llm")
    losses = language_models.losses()
    assert losses is not None
    starts, nlls = losses("Before it", " all is well")
    assert starts.tolist() == [1, 5, 8] and nlls.tolist() == [3.0, 2.0, 4.0]
    assert llm.requests[0]["echo"] is True and llm.requests[0]["model"] == "scripted"
    assert len(losses("Before", "")[0]) == 0 and len(llm.requests) == 1
    chunks = split_perplexity(TEXT, losses=losses)
    assert "".join(chunk.text for chunk in chunks) == TEXT


def test_it_sends_a_long_text_in_windows(settings: Any, scripted: Start) -> None:  # noqa: F811
    text = "".join(f"Sentence {i} stands here. " for i in range(900)) + "x" * 9_000
    llm = scripted(echoed)
    configure(settings, "llm")
    losses = language_models.losses()
    assert losses is not None
    starts, nlls = losses("Before. ", text)
    prompts = [prompt[0] if isinstance(prompt := request["prompt"], list) else prompt for request in llm.requests]
    assert len(prompts) == 5 and max(map(len, prompts)) <= 12_000
    assert prompts[0].startswith("Before. Sentence 0") and prompts[1][:4_000] in text
    assert len(starts) == len(nlls) and (np.diff(starts) > 0).all()
    assert [text[start : start + 8] for start in starts[:3600:4]] == ["Sentence"] * 900


def test_it_says_so_where_a_server_tells_no_probabilities(settings: Any, scripted: Start) -> None:  # noqa: F811
    scripted([Text("2"), Status(404, message="no completions here"), Status(503)])
    configure(settings, "llm")
    choose, losses = language_models.choose(), language_models.losses()
    assert choose and losses
    with pytest.raises(LLMRejected, match="for chunk: no log-probabilities were told"):
        choose("1 or 2?", ["1", "2"])
    with pytest.raises(LLMRejected, match="no completions here"):
        losses("", TEXT)
    with pytest.raises(LLMUnavailable):
        losses("", TEXT)


def test_it_rejects_an_answer_that_echoes_nothing(settings: Any, scripted: Start) -> None:  # noqa: F811
    choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": None}
    scripted([Body({"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]})])
    configure(settings, "llm")
    losses = language_models.losses()
    assert losses is not None
    with pytest.raises(LLMRejected, match="does not echo its prompt with log-probabilities"):
        losses("", TEXT)


def test_it_keeps_the_ledger(settings: Any, scripted: Start) -> None:  # noqa: F811
    from memory_service import llm

    class Meter:
        noted: list[Any] = []

        def check(self, model: str, purpose: str) -> None: ...

        def note(self, usage: Any) -> Any:
            self.noted.append(usage)
            return usage

    scripted(echoed)
    configure(settings, "llm")
    losses = language_models.losses()
    assert losses is not None
    with llm.metered(Meter()):
        assert np.isfinite(losses("", TEXT)[1]).all()
    assert [usage.purpose for usage in Meter.noted] == ["chunk"] and Meter.noted[0].prompt_tokens > 0
