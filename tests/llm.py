"""A scripted language model, configured as the service's: what several test files start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.scripted_llm import ScriptedLLM

Start = Callable[..., ScriptedLLM]


@pytest.fixture
def scripted(settings: Any) -> Iterator[Start]:
    """Starts a server with a script, and configures it as the model."""
    with ExitStack() as stack:

        def start(script: Any, *, model: str = "openai/scripted") -> ScriptedLLM:
            server = stack.enter_context(ScriptedLLM(script))
            named = {"llm_model": model, "llm_api_base": server.base_url, "llm_api_key": "test"}
            settings.ENV = settings.ENV.model_copy(update=named)
            return server

        yield start
