from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from accel.causal import CausalLM

TEXT = (
    "The river rose in the night. By morning the lower fields were under water, and the ferryman would not cross. "
    "Nobody had seen the like of it since the year of the great frost! «Naïve», said the miller; 東京 🙂 is far.\n\n"
) * 6
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def save(folder: Path, make: Any, *, bos: bool = True) -> str:
    """A byte-level tokenizer trained on the text, and a small random model whose weights are not tiny."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>"] if bos else []
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    named = {"bos_token": "<s>"} if bos else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("llama")
    return save(folder, lambda: LlamaForCausalLM(LlamaConfig(vocab_size=400, max_position_embeddings=64, **SIZES)))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = GPT2Config(vocab_size=400, n_positions=48, n_embd=32, n_layer=2, n_head=4)
    return save(tmp_path_factory.mktemp("gpt2"), lambda: GPT2LMHeadModel(config), bos=False)


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = MistralConfig(vocab_size=400, max_position_embeddings=512, sliding_window=20, **SIZES)
    return save(tmp_path_factory.mktemp("mistral"), lambda: MistralForCausalLM(config))


def open_model(folder: str, **options: Any) -> CausalLM:
    return CausalLM(folder, device="cpu", dtype="float32", **options)


def plain_losses(model: CausalLM, context: str, text: str, mask: Any = None) -> np.ndarray:
    """The whole row at once, by the model's own forward."""
    before = model.tokenizer(context, add_special_tokens=False)["input_ids"] if context else []
    ids = [model.first_id, *before, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        logits = model.model(input_ids=torch.tensor([ids]), attention_mask=mask).logits[0].double()
    row = torch.log_softmax(logits[:-1], dim=-1)
    told = -row[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    return told[len(before) :].numpy()


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("window", [2, 7, 64, 4096])
def test_it_gives_in_windows_what_it_gives_in_one(request: Any, family: str, window: int) -> None:
    model = open_model(request.getfixturevalue(family), window_tokens=window)
    starts, nlls = model.losses("Before it rained.", TEXT)
    expected = plain_losses(model, "Before it rained.", TEXT)
    assert len(starts) == len(nlls) == len(expected) > 150
    assert np.abs(nlls - expected).max() < 1e-4


def test_it_tells_where_each_token_starts(llama: str) -> None:
    starts, nlls = open_model(llama).losses("", TEXT)
    assert (np.diff(starts) >= 0).all() and starts[0] == 0 and starts[-1] < len(TEXT)
    assert len(starts) == len(nlls) and (nlls > 0).all()
    assert {"river", "was", "Nobody"} <= {TEXT[start:].split()[0] for start in starts.tolist()}
    assert not any(TEXT[start] == " " for start in starts.tolist())


def test_it_drops_the_oldest_keys_beyond_the_bound(llama: str) -> None:
    """The same as one pass in which each token sees what the cache then held, in all layers."""
    window, bound = 16, 40
    model = open_model(llama, window_tokens=window, max_cached_tokens=bound)
    _, nlls = model.losses("", TEXT)
    num = len(nlls)  # tokens that are read: all but the last, and the first
    sees = torch.zeros(num + 1, num + 1, dtype=torch.bool)
    kept: list[int] = []
    for begin in range(0, num, window):
        step = list(range(begin, min(begin + window, num)))
        kept = kept[-(bound - len(step)) :]
        for place in step:
            sees[place, kept] = True
            sees[place, begin : place + 1] = True
        kept += step
    sees[num, num] = True
    mask = torch.zeros(1, 1, num + 1, num + 1).masked_fill(~sees, torch.finfo(torch.float32).min)
    assert np.abs(nlls - plain_losses(model, "", TEXT, mask)).max() < 1e-4
    assert np.abs(nlls - plain_losses(model, "", TEXT)).max() > 1e-2


def test_it_reads_on_where_learned_positions_end(gpt2: str) -> None:
    model = open_model(gpt2, window_tokens=16)
    starts, nlls = model.losses("", TEXT)
    assert len(starts) == len(nlls) > 150 and np.isfinite(nlls).all()
    ids = [model.first_id, *model.tokenizer(TEXT, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():  # the 49th token on is read with the 24 before it, from the first position on
        logits = model.model(input_ids=torch.tensor([ids[24:72]])).logits[0].log_softmax(-1)
    expected = [-float(logits[place - 1 - 24, ids[place]]) for place in range(49, 73)]
    assert np.abs(nlls[48:72] - expected).max() < 1e-4


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_it_scores_a_batch_as_it_scores_each_alone(request: Any, family: str) -> None:
    model = open_model(request.getfixturevalue(family))
    pairs = [("", TEXT[:90]), ("The river.", TEXT[90:120]), ("x", ""), ("", "a"), (TEXT[:60], TEXT[60:300]), ("", TEXT)]
    alone = [model.losses(*pair) for pair in pairs]
    for budget in (1, 50, None):
        for (starts, nlls), (expected_starts, expected) in zip(
            model.losses_many(pairs, batch_tokens=budget), alone, strict=True
        ):
            assert starts.tolist() == expected_starts.tolist()
            assert np.abs(nlls - expected).max(initial=0) < 1e-4


def test_it_stays_close_in_bfloat16(llama: str) -> None:
    half = CausalLM(llama, device="cpu", dtype="bfloat16").losses("", TEXT)[1]
    assert np.abs(half - open_model(llama).losses("", TEXT)[1]).mean() < 0.1


def test_it_tells_how_probable_each_option_is(llama: str) -> None:
    model = open_model(llama, window_tokens=16)
    prompt = "Is the river high? Answer 1 or 2: "
    ids = [model.first_id, *model.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        expected = model.model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
    one, two = (model.tokenizer(option, add_special_tokens=False)["input_ids"][0] for option in "12")
    assert model.choose(prompt, ["1", "2"]) == pytest.approx([float(expected[one]), float(expected[two])], rel=1e-4)
    assert model.choose(prompt, ["2", "1", "2"])[[0, 2]] == pytest.approx(float(expected[two]), rel=1e-4)


def test_it_gives_nothing_for_nothing(llama: str) -> None:
    starts, nlls = open_model(llama).losses("some context", "")
    assert len(starts) == len(nlls) == 0


def test_it_rejects_what_cannot_be(llama: str) -> None:
    with pytest.raises(ValueError, match="window_tokens=1"):
        open_model(llama, window_tokens=1)
    with pytest.raises(ValueError, match="option '' has no token"):
        open_model(llama).choose("a", ["1", ""])
    with pytest.raises(ValueError, match="batch_tokens=0 must be at least 1"):
        open_model(llama).losses_many([("", "a")], batch_tokens=0)


@pytest.mark.gpu
def test_it_gives_on_a_gpu_what_it_gives_on_a_cpu(llama: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    there = CausalLM(llama, device="cuda", dtype="float32", window_tokens=16).losses("", TEXT)[1]
    assert np.abs(there - open_model(llama).losses("", TEXT)[1]).max() < 1e-2
