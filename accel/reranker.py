"""Relevance of texts to a question from a local cross-encoder: any sequence-classification folder, or a hub name where
a hub can be reached.

Needs torch and transformers alone. Pairs are sorted by length and packed into batches under a token budget, so that
little is computed on padding; results come back in the order of the input.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .embedder import pack

DType = Literal["auto", "float32", "bfloat16"]

BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}  # padded tokens a batch
MAX_TOKENS = 512  # of a pair, where the model allows more or does not say


class Reranker:
    """One model, loaded once. Safe to share between threads.

    Raises ValueError where the model is no judge of pairs: more than two labels.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: DType = "auto",
        threads: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]  # a log file is no terminal
        config = AutoConfig.from_pretrained(model)
        if config.num_labels > 2:
            raise ValueError(f"{model} has {config.num_labels} labels; a reranker has one, or two for no and yes")
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = choose_dtype(dtype, self.device)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        loaded = AutoModelForSequenceClassification.from_pretrained(model, dtype=self.dtype)
        self.model: Any = loaded.to(self.device).eval()
        self.max_tokens = _limit(self.tokenizer, config, max_tokens)
        self._tokenizing = threading.Lock()  # a fast tokenizer keeps its truncation as state

    def score(self, query: str, texts: Sequence[str], *, batch_tokens: int | None = None) -> NDArray[np.float32]:
        """How likely each text answers the query: (N,) float32 from 0 to 1.

        One label: its logit through the logistic function. Two: the probability of the second. A pair that is too long
        loses the end of the longer of the two. batch_tokens: padded tokens a batch. Raises ValueError if it is not
        positive.
        """
        budget = BATCH_TOKENS.get(self.device.type, 2048) if batch_tokens is None else batch_tokens
        if budget < 1:
            raise ValueError(f"batch_tokens={budget} must be at least 1")
        scores = np.zeros(len(texts), dtype=np.float32)
        if not texts:
            return scores
        with self._tokenizing:
            pairs = self.tokenizer(
                [query] * len(texts), list(texts), truncation="longest_first", max_length=self.max_tokens
            )
        with torch.inference_mode():
            for batch in pack([len(ids) for ids in pairs["input_ids"]], budget):
                inputs = {name: [rows[i] for i in batch] for name, rows in pairs.items()}
                scores[batch] = self._score_batch(inputs).cpu().numpy()
        return scores

    def _score_batch(self, pairs: dict[str, list[list[int]]]) -> Tensor:
        inputs = self.tokenizer.pad(pairs, return_tensors="pt").to(self.device)  # (B, T)
        logits = self.model(**inputs).logits.float()  # (B, 1 or 2)
        if logits.shape[1] == 1:
            return torch.sigmoid(logits[:, 0])
        probabilities: Tensor = torch.softmax(logits, dim=-1)[:, 1]
        return probabilities


def choose_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU that has it. On a CPU float32: the order of close scores is the whole result."""
    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def _limit(tokenizer: Any, config: Any, asked: int | None) -> int:
    """Tokens of a pair: what is asked for, within what the tokenizer and the positions allow."""
    positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
    if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.pad_token_id + 1  # their positions begin behind the padding's
    return int(min(asked or MAX_TOKENS, positions, tokenizer.model_max_length))
