"""Gunicorn's settings: `gunicorn -c memory_service/gunicorn.py memory_service.wsgi`."""

from __future__ import annotations

import threading
from typing import Any

from memory_service.config import read_environment

_env = read_environment()

bind = f"{_env.host}:{_env.port}"
workers = _env.web_workers
threads = _env.web_threads
worker_class = "gthread"
timeout = 120
graceful_timeout = 5
keepalive = 30
accesslog = None  # the RequestId middleware writes one JSON line a request
errorlog = "-"
loglevel = "warning"
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """The query embedder is loaded beside the first requests, not by one of them."""
    from memory_service.embedding import warm_up

    threading.Thread(target=warm_up, daemon=True).start()
