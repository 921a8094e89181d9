"""What a causal language model thinks of a text: negative log likelihoods of its tokens, and probabilities of answers.

Any causal model of Hugging Face: a folder, or a hub name where a hub can be reached. Needs torch and transformers
alone. A long text is read in windows, each with the keys and values of those before, of which the oldest are dropped
beyond a bound. Source of the bounds: the code of Meta-Chunking (arXiv:2410.12788).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .embedder import pack

DType = Literal["auto", "float32", "bfloat16"]

WINDOW_TOKENS = 4096
MAX_CACHED_TOKENS = 9000
MAX_LOGIT_BYTES = 256 << 20  # of one step: a vocabulary of 150,000 would ask for 2.4 GB over a whole window


class CausalLM:
    """One model, loaded once. Safe to share between threads.

    window_tokens: read in one step at most; fewer where the logits would not fit into MAX_LOGIT_BYTES.
    max_cached_tokens: whose keys and values are kept. A model whose positions are learned, not rotary, reads the last
    half of what it can hold again instead. Raises ValueError for bounds under 2, for a tokenizer without offsets, and
    where there is no token to begin with.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: DType = "auto",
        threads: int | None = None,
        window_tokens: int = WINDOW_TOKENS,
        max_cached_tokens: int = MAX_CACHED_TOKENS,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        if window_tokens < 2 or max_cached_tokens < 2:
            raise ValueError(
                f"window_tokens={window_tokens} and max_cached_tokens={max_cached_tokens} must be 2 or more"
            )
        disable_progress_bar()  # type: ignore[no-untyped-call]  # a log file is no terminal
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = choose_dtype(dtype, self.device)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        if not self.tokenizer.is_fast:
            raise ValueError(f"the tokenizer of {model} gives no offsets: a fast tokenizer does")
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=self.dtype)
        self.model: Any = loaded.to(self.device).eval()
        config = self.model.config.get_text_config()
        self.is_rotary = _is_rotary(config)
        positions = getattr(config, "max_position_embeddings", None)
        self.max_positions = None if self.is_rotary or not positions else min(int(positions), max_cached_tokens)
        self.max_cached_tokens = max_cached_tokens
        self.step_tokens = max(2, min(window_tokens, MAX_LOGIT_BYTES // (4 * int(config.vocab_size))))
        self.first_id = _first_id(self.tokenizer, model)

    def losses(self, context: str, text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(T,) where the text's tokens start, in characters, and (T,) their negative log likelihoods, in nats.

        The context is tokenized apart from the text, so that the text's tokens are the same after any context.
        """
        ids, first, starts = self._encode(context, text)
        if not len(starts):
            return starts, np.zeros(0)
        with torch.inference_mode():
            nlls = torch.cat([self._nlls(logits, ids, place) for place, logits in self._read(ids, first)])  # (T,)
        return starts, nlls.double().cpu().numpy()

    def _nlls(self, logits: Tensor, ids: Sequence[int], place: int) -> Tensor:
        told = torch.tensor(ids[place : place + len(logits)], device=logits.device)
        return negative_log_likelihoods(logits, told)

    def losses_many(
        self, pairs: Sequence[tuple[str, str]], *, batch_tokens: int | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """`losses` of many pairs (context, text), in their order; short ones together, padded behind their ends.

        batch_tokens: padded tokens a batch, at most those of a step. Raises ValueError if it is not positive.
        """
        budget = self.step_tokens if batch_tokens is None else min(batch_tokens, self.step_tokens)
        if budget < 1:
            raise ValueError(f"batch_tokens={batch_tokens} must be at least 1")
        encoded = [self._encode(context, text) for context, text in pairs]
        found = [(starts, np.zeros(len(starts))) for _, _, starts in encoded]
        longest = min(self.step_tokens, self.max_positions or self.max_cached_tokens, self.max_cached_tokens)
        told = [i for i, (_, _, starts) in enumerate(encoded) if len(starts)]
        for places in pack([len(encoded[i][0]) for i in told], budget):
            batch = [told[place] for place in places]
            if len(batch) == 1 or max(len(encoded[i][0]) for i in batch) > longest:
                for i in batch:
                    found[i] = self.losses(*pairs[i])
                continue
            with torch.inference_mode():
                together = self._read_together([encoded[i][0] for i in batch])  # (B, T, V)
                for logits, i in zip(together, batch, strict=True):
                    ids, first, starts = encoded[i]
                    nlls = self._nlls(logits[first - 1 : len(ids) - 1], ids, first)
                    found[i] = starts, nlls.double().cpu().numpy()
        return found

    def choose(self, prompt: str, options: Sequence[str]) -> NDArray[np.float64]:
        """(N,) how probable it is that the next token after the prompt begins each option, with or without a space.

        A tokenizer with a chat template puts the prompt as a user's message. Raises ValueError for an empty option.
        """
        wanted = [self._begins(option) for option in options]
        if getattr(self.tokenizer, "chat_template", None):
            said = [{"role": "user", "content": prompt}]
            prompt = self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        ids, _, _ = self._encode(prompt, "")
        with torch.inference_mode():
            ((_, logits),) = self._read([*ids, self.first_id], len(ids))  # the last id is not read: it is asked for
            probabilities = torch.softmax(logits[-1].double(), dim=-1).cpu().numpy()  # (V,)
        return np.array([probabilities[sorted(begins)].sum() for begins in wanted], dtype=np.float64)

    def _begins(self, option: str) -> set[int]:
        """The tokens that may begin it."""
        rows = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (option, " " + option)]
        spaces = self.tokenizer(" ", add_special_tokens=False)["input_ids"]
        begins = {row[0] for row in rows if row} - set(spaces)  # a lone space begins anything
        if not option.strip() or not begins:
            raise ValueError(f"option {option!r} has no token of its own")
        return begins

    def _encode(self, context: str, text: str) -> tuple[list[int], int, NDArray[np.int64]]:
        """All ids, the first of the text among them, and where the text's tokens start."""
        before = self.tokenizer(context, add_special_tokens=False, verbose=False)["input_ids"] if context else []
        told = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        starts = np.array([_first_visible(text, *span) for span in told["offset_mapping"]], dtype=np.int64)
        return [self.first_id, *before, *told["input_ids"]], 1 + len(before), starts

    def _read(self, ids: Sequence[int], first: int) -> Iterator[tuple[int, Tensor]]:
        """(place, (S, V) float32) of each step: logits[k] are for ids[place + k]. Each from `first` on comes once."""
        from transformers import DynamicCache

        cache, fed, told = DynamicCache(), 0, first  # ids that are read, and the first place without logits
        while told < len(ids):
            size = min(self.step_tokens, self.max_cached_tokens, len(ids) - 1 - fed)
            kept = cache.get_seq_length()
            if self.max_positions is None:
                _keep_newest(cache, self.max_cached_tokens - size)
            elif kept < self.max_positions:
                size = min(size, self.max_positions - kept)
            else:  # no position is left: the last half is read again, from the first position on
                cache, fed = DynamicCache(), fed - self.max_positions // 2
                size = min(self.step_tokens, self.max_positions, len(ids) - 1 - fed)
            logits = self._step(ids[fed : fed + size], fed, cache)  # (S, V)
            known = max(0, told - (fed + 1))
            if known < size:
                told = fed + size + 1
                yield fed + 1 + known, logits[known:]
            fed += size

    def _step(self, ids: Sequence[int], place: int, cache: Any) -> Tensor:
        """(S, V) float32; the keys and values are added to the cache."""
        total = cache.get_seq_length() + len(ids)
        more: dict[str, Tensor] = {}
        if self.is_rotary:  # keys were turned to their true positions, which go on when the oldest are dropped
            more["position_ids"] = torch.arange(place, place + len(ids), device=self.device)[None]
        logits: Tensor = self.model(
            input_ids=torch.tensor([list(ids)], device=self.device),
            attention_mask=torch.ones(1, total, dtype=torch.long, device=self.device),
            past_key_values=cache,
            use_cache=True,
            **more,
        ).logits
        return logits[0].float()

    def _read_together(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(B, T, V) float32: rows padded behind their ends, which no token before them sees."""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.first_id, device=self.device)  # (B, T)
        mask = torch.zeros(len(rows), width, dtype=torch.long, device=self.device)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row, device=self.device)
            mask[number, : len(row)] = 1
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits.float()


def negative_log_likelihoods(logits: Tensor, ids: Tensor) -> Tensor:
    """(S, V) float32 and (S,) -> (S,), in nats."""
    return logits.logsumexp(dim=-1) - logits.gather(-1, ids[:, None])[:, 0]


def _keep_newest(cache: Any, most: int) -> None:
    """Drops the oldest keys and values: (B, H, T, D) each."""
    if cache.get_seq_length() <= most:
        return
    for layer in cache.layers:
        first = layer.keys.shape[-2] - most
        layer.keys, layer.values = layer.keys[..., first:, :].clone(), layer.values[..., first:, :].clone()


def _first_visible(text: str, start: int, end: int) -> int:
    """Where a token starts, behind the space that some tokenizers begin a word with."""
    token = text[start:end]
    return end - len(token.lstrip()) if token.strip() else start


def _is_rotary(config: Any) -> bool:
    return bool(getattr(config, "rope_parameters", None) or getattr(config, "rope_theta", None))


def _first_id(tokenizer: Any, model: str) -> int:
    """Stands before every text, so that its first token is predicted too: what the model knows to begin with."""
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    spaces = tokenizer(" ", add_special_tokens=False)["input_ids"]
    if not spaces:
        raise ValueError(f"the tokenizer of {model} has no token to begin with: none for a start, an end or a space")
    return int(spaces[0])


def choose_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU that has it. On a CPU float32: close likelihoods are compared."""
    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
