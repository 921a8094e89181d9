"""GRAPH_BACKEND is refused at the start where it is not installed."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from memory_service.config import read_environment


def test_it_refuses_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_BACKEND", "no_such_backend")
    with pytest.raises(ImproperlyConfigured, match=r"GRAPH_BACKEND='no_such_backend' is refused: .*there are none"):
        read_environment()
    monkeypatch.setenv("GRAPH_BACKEND", "")
    assert read_environment().graph_backend == ""
