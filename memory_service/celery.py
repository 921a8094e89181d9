"""The Celery application: `celery -A memory_service worker`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_service.settings")

app = Celery("memory_service")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="platform_tasks")

_tokens: dict[str, Any] = {}


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Celery would otherwise replace what settings.LOGGING says."""


@before_task_publish.connect
def send_request_id(headers: dict[str, Any], **_: Any) -> None:
    from .logs import request_id

    headers["request_id"] = request_id.get()


@task_prerun.connect
def take_request_id(task_id: str, task: Any, **_: Any) -> None:
    from .logs import request_id

    _tokens[task_id] = request_id.set(getattr(task.request, "request_id", None) or task_id)


@task_postrun.connect
def drop_request_id(task_id: str, **_: Any) -> None:
    from .logs import request_id

    token = _tokens.pop(task_id, None)
    if token is not None:
        request_id.reset(token)


@worker_process_init.connect
def load_embedder(**_: Any) -> None:
    """The model is read before the first message is waiting for it."""
    from .embedding import warm_up

    warm_up()
