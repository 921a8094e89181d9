"""Where requests to addresses of users' choosing may go."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import pytest

from memory_service import outbound
from memory_service.errors import InvalidInput

PRIVATE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "http://db.internal/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://0/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[2001:db8::1]/",
]
PUBLIC = [
    "https://example.org/hook?x=1",
    "http://8.8.8.8:8080/",
    "https://[2606:4700:4700::1111]/",
    "https://bücher.de/",
]
NONSENSE = [
    None,
    7,
    "",
    "example.org",
    "ftp://example.org/",
    "file:///etc/passwd",
    "http://",
    "http:///path",
    "https://user:pass@example.org/",
    "https://example.org@127.0.0.1/",
    "https://example.org:99999/",
    "https://example.org:x/",
    "https://exa mple.org/",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/\x00",
    "https://example.org/\ud800",
    "https://example.org/\r\nHost: x",
    "https://" + "a" * 2000 + ".org/",
    "http://[::1/",
    "gopher://example.org/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_it_refuses_private_addresses_in_every_notation(url: str) -> None:
    with pytest.raises((InvalidInput, outbound.Refused)):
        outbound.resolve(outbound.read_url(url, allow_private=False).host, 80, allow_private=False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost:9000/hook", "http://[::1]/", "http://db.internal/"]
)
def test_it_accepts_private_addresses_where_that_is_allowed(url: str) -> None:
    outbound.read_url(url, allow_private=True)


@pytest.mark.parametrize("url", PUBLIC)
def test_it_accepts_public_urls(url: str) -> None:
    assert outbound.read_url(url, allow_private=False).port in (80, 443, 8080)


@pytest.mark.parametrize("url", NONSENSE, ids=repr)
def test_it_refuses_what_is_no_web_address(url: Any) -> None:
    with pytest.raises(InvalidInput):
        outbound.read_url(url, allow_private=True)


def test_it_refuses_a_name_of_which_one_address_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("8.8.8.8", 80)), (2, 1, 6, "", ("192.168.0.9", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(outbound.Refused, match=r"192\.168\.0\.9, which is not a public address"):
        outbound.resolve("two-faced.example", 80, allow_private=False)


def test_it_connects_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that changes its answer is asked once."""
    with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (port, requests):
        asked: list[str] = []

        def lookup(host: str, *_: Any, **__: Any) -> Any:
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "10.255.255.1", port))]

        target = outbound.read_url(f"http://rebinding.example:{port}/hook?x=1", allow_private=False)
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: lookup(host) if "example" in host else real(host, *a, **k)
        )
        answer = outbound.post(target, b"{}", {"X-A": "b"}, allow_private=True)
    assert answer.code == 200 and asked == ["rebinding.example"]
    assert requests[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert f"Host: rebinding.example:{port}".encode() in requests[0]


def test_it_follows_no_redirect_and_reads_no_more_than_it_must() -> None:
    with receiver(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert send(port).code == 302
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5_000_000
    with receiver(endless) as (port, _):
        started = time.monotonic()
        assert send(port).code == 200
        assert time.monotonic() - started < 2


def test_it_gives_up_on_a_receiver_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "TOTAL_TIMEOUT_S", 0.6)
    with receiver(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100, drip_s=0.1) as (port, _):
        started = time.monotonic()
        with pytest.raises(httpcore.TimeoutException):
            send(port)
        assert time.monotonic() - started < 2


def send(port: int) -> outbound.Response:
    target = outbound.read_url(f"http://127.0.0.1:{port}/", allow_private=True)
    return outbound.post(target, b"{}", {}, allow_private=True)


@contextmanager
def receiver(answer: bytes, *, drip_s: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each connection with these bytes, all at once or one after the other. Yields port and requests."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        requests.append(connection.recv(65536))
                        pieces = [answer[i : i + 1] for i in range(len(answer))] if drip_s else [answer]
                        for piece in pieces:
                            connection.sendall(piece)
                            time.sleep(drip_s)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], requests
        server.shutdown(socket.SHUT_RDWR)
