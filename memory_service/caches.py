"""What a process keeps of texts it has seen, for a bounded time only: what was forgotten must not live on in a cache.

The first entry after a sweep starts a timer; LIFETIME_S later everything is swept, whether the process is busy or idle.
The process that carries out a forgetting sweeps at once (`forget`).
"""

from __future__ import annotations

import os
import threading
import urllib.parse
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

LIFETIME_S = 600.0

Sweep = Callable[[bool], bool]

_sweeps: list[Sweep] = []
_timer: threading.Timer | None = None
_lock = threading.Lock()


def register(sweep: Sweep) -> None:
    """sweep(everything): drops what is due, or all, and says whether something is left."""
    _sweeps.append(sweep)


def forgettable(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """functools.lru_cache, swept. The wrapped function has `cache_clear` and `cache_info` as well."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached = lru_cache(maxsize)(function)

        def sweep(everything: bool) -> bool:
            cached.cache_clear()
            return False

        @wraps(function)
        def call(*args: Any) -> Any:
            if _timer is None:
                arm()
            return cached(*args)

        call.cache_clear, call.cache_info = cached.cache_clear, cached.cache_info  # type: ignore[attr-defined]
        register(sweep)
        return cast(Callable[P, R], call)

    return decorate


def arm() -> None:
    """Sees to it that a sweep will come. Cheap where one is due already."""
    global _timer
    if _timer is not None:
        return
    with _lock:
        if _timer is None:
            _timer = threading.Timer(LIFETIME_S, _due)
            _timer.daemon = True
            _timer.start()


def forget() -> None:
    """Sweeps everything, now."""
    for sweep in _sweeps:
        sweep(True)


def _due() -> None:
    global _timer
    with _lock:
        _timer = None
    left = [sweep(False) for sweep in _sweeps]
    if any(left):
        arm()


def _after_fork() -> None:
    """Timers do not live on in a child, and what the parent kept shall not outlive its time there."""
    global _timer, _lock
    _timer, _lock = None, threading.Lock()
    forget()


def _sweep_urls(everything: bool) -> bool:
    """The standard library keeps the last URLs that it took apart, and names stand in them."""
    urllib.parse.clear_cache()  # type: ignore[attr-defined]  # typeshed does not know it
    return False


register(_sweep_urls)
os.register_at_fork(after_in_child=_after_fork)
