"""A real service for a test: `manage.py serve` in processes of its own, on a data folder and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import requests

from memory_service.embedded import OWNER_VARIABLE, postgres_dir, redis_dir

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10  # what a person who presses Ctrl-C is promised
SETTLE_TIMEOUT_S = 120


class Answer(NamedTuple):
    status: int
    json: Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_manage(*command: str, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py ...` to its end, in an environment without what the tests' own plugin has put there."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=own_environment(environment),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def own_environment(changed: dict[str, str]) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if k not in ("DATA_DIR", "PORT", "MCP_PORT", "LOG_LEVEL", OWNER_VARIABLE)
    }
    return {**kept, "LOAD_SAMPLE": "false", "WEB_WORKERS": "1", "WORKER_CONCURRENCY": "1", **changed}


class Service:
    """One run of the service on `data_dir`; after it has ended, `start` runs it again on the same data."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir.resolve()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mcp_port = free_port()
        self.mcp_url = f"http://127.0.0.1:{self.mcp_port}/mcp"
        self.output = self.data_dir.with_name(f"{self.data_dir.name}.out")
        ports = {"PORT": str(self.port), "MCP_PORT": str(self.mcp_port)}
        self._environment = {"DATA_DIR": str(self.data_dir), **ports, **environment}
        self.process: subprocess.Popen[bytes]

    def start(self) -> Service:
        """Returns when the service says that it is ready."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=own_environment(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + READY_TIMEOUT_S
        while "Ready: " not in self.told():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the service did not come up:\n{self.told()}\n{self._logs()}")
            time.sleep(0.1)
        return self

    def stop(self) -> float:
        """SIGTERM, as `make run` gets it. Returns how many seconds the end took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_TIMEOUT_S + 20)
        return time.monotonic() - started

    def end(self) -> None:
        """Whatever state a failed test left it in."""
        if self.process.poll() is None:
            self.stop()
        self.kill_all()

    def kill_all(self) -> None:
        """SIGKILL; the supervisor first, or it would start again what the others lose."""
        self.process.kill()
        self.process.wait()
        processes = self.processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=5)

    def told(self) -> str:
        return self.output.read_text(errors="replace")

    def _logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in (self.data_dir / "logs").glob("*.log"))

    @property
    def api_key(self) -> str:
        return (self.data_dir / "api-key").read_text().strip()

    @property
    def project_id(self) -> str:
        """Of the key: other tests make projects of the same name."""
        return str(self.call("GET", "/v1/ping/").json["project_id"])

    def processes(self) -> list[psutil.Process]:
        """All that this data folder's runs have started and that is still there."""
        return [process for process in psutil.process_iter() if self._started(process)]

    def _started(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if process.name() in ("postgres", "redis-server"):
                return Path(process.cwd()) in (postgres_dir(self.data_dir), redis_dir(self.data_dir))
            return process.environ().get(OWNER_VARIABLE) == str(self.data_dir)
        except (psutil.Error, OSError):
            return False

    def child(self, *words: str) -> psutil.Process | None:
        """The supervisor's own child whose command line holds these words, where it lives."""
        for child in psutil.Process(self.process.pid).children():
            try:
                if set(words) <= set(child.cmdline()):
                    return child
            except psutil.Error:  # it died while we looked
                continue
        return None

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        headers = {"Authorization": f"Token {self.api_key}"}
        response = requests.request(method, self.url + path, json=body, params=query, headers=headers, timeout=60)
        return Answer(response.status_code, response.json())

    def settle(self) -> list[dict[str, Any]]:
        """Waits until nothing is PENDING or RUNNING; returns every event, newest first."""
        end = time.monotonic() + SETTLE_TIMEOUT_S
        while any(self._count(status) for status in ("PENDING", "RUNNING")):
            if time.monotonic() > end:
                raise TimeoutError(f"events are unfinished after {SETTLE_TIMEOUT_S} s: {json.dumps(self.events())}")
            time.sleep(0.2)
        return self.events()

    def _count(self, status: str) -> int:
        return int(self.call("GET", "/v1/events/", status=status, page_size=1).json["count"])

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            answer = self.call("GET", "/v1/events/", page=page, page_size=200).json
            found += answer["results"]
            if not answer["next"]:
                return found
            page += 1
