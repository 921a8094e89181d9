"""Requests to addresses that users name: only to public hosts, and only to the address that was checked.

A name is resolved once. Every address it has must be public; the connection goes to one of those addresses, so a name
that changes its answer afterwards (DNS rebinding) leads nowhere else. Redirects are not followed, environment proxies
are not used, and no more than MAX_ANSWER_BYTES of an answer is read.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from .errors import InvalidInput
from .validation import check_text

MAX_URL_CHARS = 2000
MAX_ANSWER_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
TOTAL_TIMEOUT_S = 15.0

# The IPv4 address inside these is where the traffic ends up: RFC 6052 (NAT64), RFC 8215, RFC 4291 (compatible).
_NAT64 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """The URL leads to where we do not go."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart, with the host in ASCII."""

    url: httpx.URL
    host: str
    port: int


def read_url(url: object, *, allow_private: bool) -> Target:
    """Raises InvalidInput for what is not an http or https URL, holds credentials, or names a private address.

    A name is not looked up here: that is done when something is sent.
    """
    if not isinstance(url, str) or not url:
        raise InvalidInput("url must be an http or https URL")
    if len(url) > MAX_URL_CHARS:
        raise InvalidInput(f"url has {len(url)} characters; at most {MAX_URL_CHARS} are accepted")
    check_text(url, name="url")
    if any(c.isspace() or ord(c) < 32 for c in url) or "\\" in url:
        raise InvalidInput("url holds a space, a backslash or a control character: percent-encode it")
    try:
        parts = urlsplit(url)
        parsed = httpx.URL(url)
        port = parsed.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        host = parsed.raw_host.decode("ascii")
        same = (parts.hostname or "").lower() == parsed.host.lower()
    except (httpx.InvalidURL, ValueError, UnicodeError) as exc:
        raise InvalidInput(f"url={url[:80]!r} cannot be read: {exc}") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput(f"url={url[:80]!r} must begin with http:// or https:// and name a host")
    if parsed.userinfo or "@" in parts.netloc:
        raise InvalidInput("url holds a user name or a password: leave them out, deliveries are signed")
    if not same or not 0 < port < 65536:
        raise InvalidInput(f"url={url[:80]!r} is ambiguous about its host")
    target = Target(parsed.copy_with(fragment=None), host.strip("[]"), port)
    if not allow_private:
        _check_literal(target.host)
    return target


def _check_literal(host: str) -> None:
    """What needs no look-up to be known as private: addresses in any notation, and the names of this machine."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        raise InvalidInput(f"url: {host!r} is a name inside this network; WEBHOOK_ALLOW_PRIVATE=true allows it")
    found = _literal(name)
    if found is not None and not is_public(found):
        raise InvalidInput(f"url: {host!r} is not a public address; WEBHOOK_ALLOW_PRIVATE=true allows it")


def _literal(host: str) -> Address | None:
    """The address that a host is, also as 2130706433, 0x7f.1 or 0177.0.0.1 (inet_aton); None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if re.fullmatch(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}", host):
        try:
            return ipaddress.ip_address(socket.inet_aton(host))
        except OSError as exc:
            raise InvalidInput(f"url: {host[:80]!r} is neither an address nor a name") from exc
    return None


def is_public(address: Address) -> bool:
    """Whether it is out in the internet: not private, loopback, link-local, shared, reserved or multicast, and not
    one of those wrapped in an IPv6 address (mapped, 6to4, Teredo, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_loopback or address.is_unspecified
    )


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """One address of the host, as text. Raises Refused where any of its addresses is not public, OSError where it
    has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not allow_private:
        for address in addresses:
            if not is_public(ipaddress.ip_address(address)):
                raise Refused(f"{host} is {address}, which is not a public address; WEBHOOK_ALLOW_PRIVATE allows it")
    return addresses[0]


@dataclass(frozen=True, slots=True)
class Response:
    code: int
    retry_after: str | None


def post(target: Target, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Response:
    """POST to the address that was checked. Raises Refused, OSError (no such host) and what is in FAULTS.

    It is over after TOTAL_TIMEOUT_S, however slowly the other side drips. What is left of the answer after
    MAX_ANSWER_BYTES is not read: the connection is closed.
    """
    backend = _Guarded(allow_private=allow_private, end=time.monotonic() + TOTAL_TIMEOUT_S)
    own = {"Host": target.url.netloc.decode("ascii"), "Content-Length": str(len(body)), "Accept": "*/*"}
    sent = [(name.encode(), value.encode()) for name, value in {**headers, **own}.items()]
    timeouts = {"connect": CONNECT_TIMEOUT_S, "read": READ_TIMEOUT_S, "write": READ_TIMEOUT_S}
    with (
        httpcore.ConnectionPool(network_backend=backend) as pool,
        pool.stream("POST", str(target.url), headers=sent, content=body, extensions={"timeout": timeouts}) as answer,
    ):
        read = 0
        for chunk in answer.iter_stream():
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                break
        named = {name.lower(): value for name, value in answer.headers}
        return Response(answer.status, named.get(b"retry-after", b"").decode("latin-1") or None)


FAULTS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.UnsupportedProtocol)


class _Guarded(httpcore.SyncBackend):
    """Looks the name up, checks what it finds and connects to that; TLS still asks for the name."""

    def __init__(self, *, allow_private: bool, end: float) -> None:
        self.allow_private, self.end = allow_private, end

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        address = resolve(host, port, allow_private=self.allow_private)
        stream = super().connect_tcp(address, port, timeout, local_address, socket_options)
        return _Bounded(stream, self.end)

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise Refused("a unix socket is no address")


class _Bounded(httpcore.NetworkStream):
    """No single wait lasts beyond the end, so neither do many short ones."""

    def __init__(self, stream: httpcore.NetworkStream, end: float) -> None:
        self.stream, self.end = stream, end

    def _left(self, timeout: float | None) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"it took longer than {TOTAL_TIMEOUT_S:g} s")
        return left if timeout is None else min(timeout, left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Bounded(self.stream.start_tls(ssl_context, server_hostname, self._left(timeout)), self.end)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
