"""Loaded before Django's settings: gives the tests a data folder of their own with a real PostgreSQL and Redis."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

DATA_DIR = Path(tempfile.mkdtemp(prefix="ms-test-")).resolve()
for _name in (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "LLM_MODEL",
    "EMBEDDING_MODEL",
    "SECURE",
    "DEBUG",
):
    os.environ.pop(_name, None)
os.environ["DATA_DIR"] = str(DATA_DIR)
os.environ["LOG_LEVEL"] = "WARNING"
os.environ["DATABASE_POOL"] = "false"  # the runner drops its database, which a pool would hold open
os.environ.setdefault("MEM0_TELEMETRY", "False")

_processes: list[Any] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # pytest-xdist's controller runs no test; each of its workers has a database of its own
    from memory_service import embedded

    _processes.append(embedded.start_redis(DATA_DIR, log=DATA_DIR / "redis.log"))
    _processes.append(embedded.start_postgres(DATA_DIR, log=DATA_DIR / "postgres.log"))


def pytest_unconfigure(config: pytest.Config) -> None:
    from memory_service import embedded

    while _processes:
        process = _processes.pop()
        (embedded.stop_postgres if _processes else lambda p: embedded.stop(p, timeout_s=5))(process)
    shutil.rmtree(DATA_DIR, ignore_errors=True)
