"""`manage.py serve`: the supervisor behind `make run`. Starts everything, keeps it running, stops it in order."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from memory_service import embedded

READY_TIMEOUT_S = 90
POLL_S = 0.2
QUICK_EXIT_S = 5  # a process that lived for less than this is restarted with a growing delay
MAX_RESTART_DELAY_S = 30
WORKER_NICENESS = 5  # the web server answers people; the worker can wait
# In all under 10 s; mcp is asked together with web, so its time is what it takes longer.
STOP_TIMEOUTS_S = {"web": 2.0, "mcp": 0.4, "beat": 1.0, "worker": 2.5, "redis": 1.0, "postgres": 3.0}

READY = """
Ready: {url}
  Dashboard: user admin, password in {data_dir}/admin-password
  API:       key in {data_dir}/api-key, reference at {url}/api/docs/
{mcp}  Logs:      {data_dir}/logs
Try:
  curl -s {url}/v3/memories/search/ -H "Authorization: Token $(cat {data_dir}/api-key)" \\
    -H 'Content-Type: application/json' \\
    -d '{{"query": "Which animal did Maya adopt?", "filters": {{"user_id": "maya"}}, "top_k": 3}}'
Ctrl-C stops everything."""
MCP_READY = "  MCP:       {url}/mcp, see docs/mcp.md\n"


@dataclass
class Child:
    """One supervised process. start makes it anew after it died."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]
    started_at: float
    restart_at: float | None = None
    num_quick_exits: int = 0


class Stopped(Exception):
    """SIGINT or SIGTERM arrived."""


class Command(BaseCommand):
    help = "Start PostgreSQL, Redis, web and MCP server, worker and beat on DATA_DIR; Ctrl-C stops them."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.data_dir: Path = settings.DATA_DIR
        self.children: list[Child] = []
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "logs").mkdir(exist_ok=True)
        settings.STATIC_ROOT.mkdir(exist_ok=True)  # empty; whitenoise warns of a folder that is not there
        lock = self._lock()
        self._check_ports()
        signal.signal(signal.SIGTERM, _raise_stopped)
        signal.signal(signal.SIGINT, _raise_stopped)
        try:
            self._start_all()
            self._announce()
            self._supervise()
        except Stopped:
            self.stdout.write("Stopping ...")
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._stop_all()
            lock.close()

    def _lock(self) -> TextIO:
        """The kernel drops the lock with the process, however it ends."""
        lock = (self.data_dir / "serve.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.close()
            raise CommandError(
                f"DATA_DIR={self.data_dir} is in use by another `make run`: stop that one, or choose another DATA_DIR."
            ) from exc
        return lock

    def _check_ports(self) -> None:
        embedded.end_leftovers(self.data_dir)  # of a killed run: it may still hold the port
        port, mcp_port = settings.ENV.port, settings.ENV.effective_mcp_port
        _check_port("PORT", port, f"choose another, e.g. `make run PORT={(port + 9) % 65535 + 1}`")
        if mcp_port == port:
            raise CommandError(f"MCP_PORT={mcp_port} is PORT too: choose another, or MCP_PORT=0 for no MCP server.")
        if mcp_port:
            _check_port("MCP_PORT", mcp_port, "choose another, or MCP_PORT=0 for no MCP server")

    def _start_all(self) -> None:
        if not settings.ENV.celery_broker_url:
            self._add("redis", lambda: embedded.start_redis(self.data_dir, log=self._log("redis")))
        if not settings.ENV.database_url:
            self._add("postgres", lambda: embedded.start_postgres(self.data_dir, log=self._log("postgres")))
            embedded.create_database(self.data_dir)
        call_command("migrate", interactive=False, verbosity=0)
        call_command("bootstrap", stdout=self.stdout)
        connections.close_all()
        celery = ("celery", "--quiet", "-A", "memory_service")
        schedule = str(self.data_dir / "beat-schedule")
        self._add("web", self._python("web", "gunicorn", "-c", "memory_service/gunicorn.py", "memory_service.wsgi"))
        if settings.ENV.effective_mcp_port:
            self._add("mcp", self._python("mcp", "manage", "mcp", "--http"))
        self._add("worker", self._python("worker", *celery, "worker"))
        self._add("beat", self._python("beat", *celery, "beat", "-s", schedule, "--pidfile="))

    def _add(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        try:
            process = start()
        except RuntimeError as exc:
            raise CommandError(str(exc)) from exc
        self.children.append(Child(name, start, process, time.monotonic()))

    def _python(self, name: str, *module: str) -> Callable[[], subprocess.Popen[bytes]]:
        def start() -> subprocess.Popen[bytes]:
            with self._log(name).open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-m", *module],
                    cwd=settings.BASE_DIR,
                    env=embedded.owned_environment(self.data_dir),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_be_nice if name == "worker" else None,
                )

        return start

    def _log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def _announce(self) -> None:
        mcp_port = settings.ENV.effective_mcp_port
        url, mcp_url = (f"http://{settings.ENV.host}:{port}" for port in (settings.ENV.port, mcp_port))
        mcp = MCP_READY.format(url=mcp_url) if mcp_port else ""
        self._wait_until_ready(f"{url}/readyz", *([f"{mcp_url}/healthz"] if mcp else []))
        if settings.ENV.load_sample:
            call_command("load_sample", stdout=self.stdout)
            connections.close_all()
        self.stdout.write(READY.format(url=url, mcp=mcp, data_dir=self.data_dir))
        self.stdout.flush()

    def _wait_until_ready(self, *urls: str) -> None:
        end = time.monotonic() + READY_TIMEOUT_S
        while not all(_answers(url) for url in urls):
            self._revive()
            if time.monotonic() > end:
                raise CommandError(f"Not ready after {READY_TIMEOUT_S} s: see {self.data_dir / 'logs'}.")
            time.sleep(POLL_S)

    def _supervise(self) -> None:
        while True:
            self._revive()
            time.sleep(POLL_S)

    def _revive(self) -> None:
        """Restarts what died, at once the first time, then ever later while it keeps dying young."""
        now = time.monotonic()
        for child in self.children:
            if child.process.poll() is None:
                continue
            if child.restart_at is None:
                young = now - child.started_at < QUICK_EXIT_S
                child.num_quick_exits = child.num_quick_exits + 1 if young else 0
                delay = min(2.0**child.num_quick_exits - 1, MAX_RESTART_DELAY_S)
                child.restart_at = now + delay
                self.stderr.write(
                    f"{child.name} ended (exit status {child.process.returncode}); "
                    f"restarting in {delay:.0f} s, see {self._log(child.name)}"
                )
            if now >= child.restart_at:
                child.process, child.started_at, child.restart_at = child.start(), now, None

    def _stop_all(self) -> None:
        """Web and MCP first, so that nothing new arrives; then the workers; the stores last."""
        order = list(STOP_TIMEOUTS_S)
        for child in self.children:
            if child.name == "mcp" and child.process.poll() is None:
                child.process.terminate()
        for child in sorted(self.children, key=lambda c: order.index(c.name)):
            stop = embedded.stop_postgres if child.name == "postgres" else embedded.stop
            stop(child.process, timeout_s=STOP_TIMEOUTS_S[child.name])
        embedded.end_leftovers(self.data_dir)


def _check_port(name: str, port: int, remedy: str) -> None:
    host = settings.ENV.host
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise CommandError(f"{name}={port} on {host} cannot be used ({exc.strerror}): {remedy}.") from exc


def _raise_stopped(signum: int, frame: FrameType | None) -> None:
    raise Stopped


def _be_nice() -> None:
    os.nice(WORKER_NICENESS)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
