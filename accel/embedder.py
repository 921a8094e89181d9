"""Sentence vectors from a local model: any sentence-transformers folder, or a hub name where a hub can be reached.

Needs torch and transformers alone. Texts are sorted by length and packed into batches under a token budget, so that
little is computed on padding; results come back in the order of the input.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pooling = Literal["mean", "cls", "last"]
DType = Literal["auto", "float32", "bfloat16"]

BATCH_TOKENS = {
    "cpu": 1024,
    "cuda": 65_536,
}  # padded tokens a batch; on a CPU larger ones only fall out of cache


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a sentence-transformers folder says beside its weights."""

    pooling: Pooling
    normalize: bool
    max_tokens: int


class _LastHidden(torch.nn.Module):
    """The model as a function of tensors alone, which is what can be traced."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden: Tensor = self.model(input_ids=ids, attention_mask=mask, return_dict=False)[0]
        return hidden


class Embedder:
    """One model, loaded once.

    Raises ValueError where the folder asks for a pooling that is not supported.
    """

    def __init__(self, model: str, *, device: str = "auto", dtype: DType = "auto", threads: int | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]  # a log file is no terminal
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = choose_dtype(dtype, self.device)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self.model: Any = AutoModel.from_pretrained(model, dtype=self.dtype).to(self.device).eval()
        self.config = read_config(Path(model))
        self.dimensions: int = self.model.config.hidden_size
        self._traced: Any = None

    def encode(self, texts: Sequence[str], *, batch_tokens: int | None = None) -> NDArray[np.float32]:
        """texts -> (N, D) float32, unit length where the model's folder says so. Longer texts are cut.

        batch_tokens: padded tokens a batch. Raises ValueError if it is not positive.
        """
        budget = BATCH_TOKENS[self.device.type] if batch_tokens is None else batch_tokens
        if budget < 1:
            raise ValueError(f"batch_tokens={budget} must be at least 1")
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.config.max_tokens)["input_ids"]
        with torch.inference_mode():
            for batch in pack([len(row) for row in ids], budget):
                vectors[batch] = self._encode_batch([ids[i] for i in batch]).float().cpu().numpy()
        return vectors

    def encode_one(self, text: str) -> NDArray[np.float32]:
        """text -> (D,) float32, as `encode` gives it, through a traced graph: a third less time for a short text.

        A lone text has no padding, so nothing of the trace depends on a mask.
        """
        inputs = self.tokenizer([text], truncation=True, max_length=self.config.max_tokens, return_tensors="pt")
        ids, mask = inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device)  # (1, T)
        with torch.inference_mode():
            hidden = self._trace()(ids, mask).float()  # (1, T, D)
            pooled = pool(hidden, mask, self.config.pooling)
            vector = F.normalize(pooled, dim=-1) if self.config.normalize else pooled
        return vector[0].float().cpu().numpy()

    def _trace(self) -> Any:
        if self._traced is None:
            example = torch.ones(1, 9, dtype=torch.long, device=self.device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of branches on shapes that a lone text does not take
                self._traced = torch.jit.trace(_LastHidden(self.model), (example, example), check_trace=False)  # type: ignore[no-untyped-call]
        return self._traced

    def _encode_batch(self, ids: list[list[int]]) -> Tensor:
        inputs = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)  # (B, T)
        hidden = self.model(**inputs).last_hidden_state.float()  # (B, T, D)
        pooled = pool(hidden, inputs["attention_mask"], self.config.pooling)  # (B, D)
        return F.normalize(pooled, dim=-1) if self.config.normalize else pooled


def choose_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively (about twice as fast, cosine 0.9999), else float32."""
    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """hidden: (B, T, D); mask: (B, T), 1 for real tokens, padded on the right. Returns (B, D)."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    summed: Tensor = (hidden * weights).sum(1)
    return summed / weights.sum(1)


def pack(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like length whose padded size stays within budget (a longer one stands alone)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def read_config(folder: Path) -> ModelConfig:
    """A folder without sentence-transformers' files (or a hub name) is taken as mean pooling, unit length."""
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    modules = _read_json(folder / "modules.json") or []
    limits = _read_json(folder / "sentence_bert_config.json") or {}
    return ModelConfig(
        pooling=_pooling(pooling) if pooling else "mean",
        normalize=not modules or any("Normalize" in m["type"] for m in modules),
        max_tokens=int(limits.get("max_seq_length") or 512),
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _pooling(config: dict[str, Any]) -> Pooling:
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "last",
    }
    for key, name in known.items():
        if config.get(key):
            return name
    raise ValueError(f"pooling {config} is not supported; mean, cls and last-token are")
