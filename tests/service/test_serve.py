"""`manage.py serve`: one run on a folder, refusals in one sentence, an end in time, a clean start after any death."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.serving import STOP_TIMEOUT_S, Service, run_manage

pytestmark = pytest.mark.slow

SAID = "The spare key hangs behind the clock."


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("mortal") / "data").start()
    yield service
    service.end()


@pytest.fixture
def own(mortal: Service) -> Service:
    """A service that the tests here may stop and kill, running."""
    return mortal if mortal.process.poll() is None else mortal.start()


def remember(service: Service) -> None:
    answer = service.call("POST", "/v3/memories/add/", {"messages": SAID, "user_id": "alice", "infer": False})
    assert answer.json["status"] == "SUCCEEDED", answer


def remembered(service: Service) -> list[str]:
    asked = {"query": "Where is the spare key?", "filters": {"user_id": "alice"}}
    answer = service.call("POST", "/v3/memories/search/", asked)
    return [memory["memory"] for memory in answer.json["results"]]


def refusal(done) -> str:
    """The one line that a refused start says."""
    assert done.returncode != 0
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    return line


def test_it_is_ready_and_says_how_to_use_it(service: Service) -> None:
    told = service.told()
    assert f"Ready: {service.url}" in told
    assert told.count(service.api_key) == 1
    assert (service.data_dir / "api-key").stat().st_mode & 0o777 == 0o600
    ready = requests.get(f"{service.url}/readyz", timeout=10)
    assert ready.json() == {"ready": True, "checks": {"database": "ok", "broker": "ok", "worker": "ok"}}
    assert requests.get(f"{service.url}/healthz", timeout=10).json() == {"status": "ok"}


def test_it_listens_on_loopback_only(service: Service) -> None:
    listening = [
        connection.laddr
        for process in service.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {(address.ip, address.port) for address in listening} == {
        ("127.0.0.1", port) for port in (service.port, service.mcp_port)
    }


def test_it_refuses_a_second_run_on_the_same_folder(service: Service) -> None:
    done = run_manage("serve", DATA_DIR=str(service.data_dir), PORT=str(service.port))
    assert refusal(done) == (
        f"CommandError: DATA_DIR={service.data_dir} is in use by another `make run`: "
        "stop that one, or choose another DATA_DIR."
    )
    assert service.call("GET", "/v1/ping/").status == 200


def test_it_refuses_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_manage("serve", DATA_DIR=str(tmp_path / "data"), PORT=str(port))
    line = refusal(done)
    assert f"PORT={port} on 127.0.0.1 cannot be used (Address already in use): choose another" in line


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "abc", "PORT='abc' is refused: Input should be a valid integer"),
        ("PORT", "70000", "PORT='70000' is refused: Input should be less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='LOUD' is refused: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("DATABASE_URL", "mysql://x:secret@y/z", "DATABASE_URL=(hidden) is refused: a URL that starts with one of"),
        ("CELERY_BROKER_URL", "http://x", "CELERY_BROKER_URL=(hidden) is refused: a URL that starts with one of redis"),
        ("WEB_WORKERS", "0", "WEB_WORKERS='0' is refused: Input should be greater than or equal to 1"),
        ("DEBUG", "perhaps", "DEBUG='perhaps' is refused: Input should be a valid boolean"),
    ],
)
def test_it_refuses_a_bad_setting_by_name(tmp_path: Path, name: str, value: str, words: str) -> None:
    done = run_manage("serve", DATA_DIR=str(tmp_path / "data"), **{name: value})
    line = refusal(done)
    assert words in line
    assert "secret" not in line


def test_it_stops_in_time_and_leaves_nothing(own: Service) -> None:
    remember(own)
    assert own.stop() < STOP_TIMEOUT_S
    assert own.process.returncode == 0
    assert own.processes() == []
    assert "Stopping ..." in own.told()
    assert own.start() and remembered(own) == [SAID]


def test_it_starts_cleanly_after_every_process_was_killed(own: Service) -> None:
    remember(own)
    assert {"postgres", "redis-server"} <= {process.name() for process in own.processes()}
    own.kill_all()
    assert own.processes() == []
    started = time.monotonic()
    own.start()
    assert time.monotonic() - started < 30
    assert remembered(own) == [SAID]
    remember_more = own.call("POST", "/v3/memories/add/", {"messages": "And more.", "user_id": "bob", "infer": False})
    assert remember_more.json["status"] == "SUCCEEDED"


def test_it_starts_cleanly_after_the_supervisor_alone_was_killed(own: Service) -> None:
    remember(own)
    orphans = own.processes()
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    assert orphans
    own.start()
    assert [process for process in orphans if process.is_running()] == []
    assert remembered(own) == [SAID]


def test_it_restarts_what_dies(own: Service) -> None:
    web = own.child("gunicorn", "memory_service.wsgi")
    assert web is not None
    web.kill()
    web.wait()
    end = time.monotonic() + 30
    while not answers(own):
        assert time.monotonic() < end, own.told()
        time.sleep(0.1)
    assert "web ended (exit status -9); restarting in" in own.told()


def answers(service: Service) -> bool:
    try:
        return requests.get(f"{service.url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_it_is_fit_for_production(tmp_path: Path) -> None:
    done = run_manage(
        *("check", "--deploy", "--fail-level", "WARNING"),
        DATA_DIR=str(tmp_path),
        SECURE="true",
        SECRET_KEY="a long secret of many different characters, 0123456789 + !?",
        ALLOWED_HOSTS="memory.example.org",
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
