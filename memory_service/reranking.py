"""The only door to the cross-encoder that RERANK_MODEL names; without one, searches keep the order of their scores.

torch and the model are loaded by the first search that asks for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from accel.reranker import Reranker

logger = logging.getLogger(__name__)

NOT_CONFIGURED = "no reranker is configured (RERANK_MODEL is empty): the order is that of the scores"

_lock = threading.Lock()
_loaded: dict[str, Reranker | Exception] = {}


@dataclass(frozen=True, slots=True)
class Unavailable:
    why: str


def is_configured() -> bool:
    return bool(settings.ENV.rerank_model)


def num_candidates() -> int:
    """How many of the best a reranker reads."""
    return int(settings.ENV.rerank_candidates)


def score_texts(query: str, texts: Sequence[str]) -> NDArray[np.float64] | Unavailable:
    """(N,) from 0 to 1, or why there are none. A model that cannot be loaded is not tried again by this process."""
    name = settings.ENV.rerank_model
    if not name:
        return Unavailable(NOT_CONFIGURED)
    model = _load(name)
    if isinstance(model, Exception):
        return Unavailable(f"RERANK_MODEL={name} could not be loaded: the order is that of the scores")
    return model.score(query, texts).astype(np.float64)


def _load(name: str) -> Reranker | Exception:
    with _lock:
        if name not in _loaded:
            from accel.reranker import Reranker

            try:
                # One core, as the embedder: there are as many processes as cores.
                _loaded[name] = Reranker(name, dtype=settings.ENV.rerank_dtype, threads=1)
            except (OSError, ValueError) as exc:  # what transformers raises where there is no such model
                logger.error("RERANK_MODEL=%s could not be loaded: %s", name, exc)
                _loaded[name] = exc
        return _loaded[name]
