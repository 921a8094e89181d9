"""The only door to the language model that documents are cut by: a model of one's own, or that of LLM_MODEL.

Without one, the strategies that need it are refused, and perplexity is that of a small model of the document itself.
torch and the model are loaded by the first text that is scored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from chunking.types import Choose, Losses, Offsets

from . import llm
from .errors import LLMRejected
from .project_llm import llm_config

if TYPE_CHECKING:
    from accel.causal import CausalLM

logger = logging.getLogger(__name__)

THE_LLM = "llm"  # CHUNKING_LM's word for the model of LLM_MODEL
PURPOSE = "chunk"

_lock = threading.Lock()
_loaded: dict[str, CausalLM | Exception] = {}


def losses() -> Losses | None:
    """What scores a text's tokens; None where no language model is configured for it, or it cannot be loaded.

    What it returns raises LLMRejected where LLM_MODEL's server does not echo prompts with log-probabilities.
    """
    if settings.ENV.chunking_lm == THE_LLM:
        return _losses_of_llm if llm_config() else None
    model = local_model()
    return model.losses if model else None


def choose() -> Choose | None:
    """What weighs two answers; None where no language model is configured for it, or it cannot be loaded.

    What it returns raises LLMRejected where LLM_MODEL's server tells no log-probabilities.
    """
    if settings.ENV.chunking_lm == THE_LLM:
        return _choose_by_llm if llm_config() else None
    model = local_model()
    return model.choose if model else None


def local_model() -> CausalLM | None:
    """The process's model. One that cannot be loaded is not tried again by this process."""
    name = settings.ENV.chunking_lm
    if not name or name == THE_LLM:
        return None
    with _lock:
        if name not in _loaded:
            from accel.causal import CausalLM

            try:
                # One core, as the embedder: there are as many processes as cores.
                _loaded[name] = CausalLM(name, threads=1)
            except (OSError, ValueError) as exc:  # what transformers raises where there is no such model
                logger.error("CHUNKING_LM=%s could not be loaded: %s", name, exc)
                _loaded[name] = exc
        model = _loaded[name]
    return None if isinstance(model, Exception) else model


def _losses_of_llm(context: str, text: str) -> tuple[Offsets, NDArray[np.float64]]:
    if not text:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    before = context or "\n"  # so that the text's first token is predicted too
    found, logs = llm.prompt_log_probabilities(_config(), before + text, purpose=PURPOSE)
    inside = [(start - len(before), -log) for start, log in zip(found, logs, strict=True) if log is not None]
    kept = [(start, loss) for start, loss in inside if start >= 0]
    starts = np.array([start for start, _ in kept], dtype=np.int64)
    return starts, np.array([max(0.0, loss) for _, loss in kept], dtype=np.float64)


def _choose_by_llm(prompt: str, options: Sequence[str]) -> NDArray[np.float64]:
    """A token counts for every option that begins with it."""
    probabilities = llm.next_token_probabilities(_config(), [{"role": "user", "content": prompt}], purpose=PURPOSE)
    told = [(token.strip(), probability) for token, probability in probabilities.items() if token.strip()]
    return np.array([sum(p for token, p in told if option.startswith(token)) for option in options], dtype=np.float64)


def _config() -> llm.LLMConfig:
    config = llm_config()
    if config is None:
        raise LLMRejected("CHUNKING_LM=llm, and LLM_MODEL is empty: set it")
    return config
