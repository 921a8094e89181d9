"""Answers that are sent while they come about: server-sent events over plain WSGI.

A thread of its own does the work, so that the one that writes can send a comment while nothing happens: proxies keep
the connection, and a client that has gone is noticed. Then the work's iterator is closed, which stops the model.

Format: WHATWG HTML, section 9.2, server-sent events.
"""

from __future__ import annotations

import contextvars
import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import close_old_connections, connections
from django.http import StreamingHttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

from memory_service.errors import TooSoon
from memory_service.llm import LLMConfig

from .handlers import waiters

HEARTBEAT_S = 10.0
HEARTBEAT = ": still here\n\n"
QUEUE_ITEMS = 64  # ahead of a slow reader
LOOK_S = 0.2  # how soon a full queue's writer notices that nobody reads any more

_END = object()


class AlwaysJSON(BaseContentNegotiation):
    """For views that answer in JSON or in events, as the body says: what a client's Accept says is then no matter."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def take_place() -> None:
    """One of the places for those who wait long. Raises TooSoon where all are taken; give it back by `leave_place`."""
    if not waiters.acquire(blocking=False):
        raise TooSoon("as many answers as this process gives at a time are under way: try again", retry_after_s=1)


leave_place = waiters.release


@contextmanager
def place_for(llm: LLMConfig | None) -> Iterator[None]:
    """A place while a model is asked; without one nobody waits long."""
    if llm is None:
        yield
        return
    take_place()
    try:
        yield
    finally:
        leave_place()


class Worker:
    """An iterator's items, made on a thread of their own. The thread gives its place back when it is done."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        """make: called on the thread. The caller has taken a place."""
        self._items: queue.Queue[Any] = queue.Queue(QUEUE_ITEMS)
        self._gone = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work, make), daemon=True)
        close_old_connections()  # ours: this thread only waits and writes from now on, and the pool is small
        self._thread.start()

    def get(self, timeout_s: float | None) -> Any:
        """The next item. Raises queue.Empty after timeout_s, StopIteration at the end, and what the work raised."""
        item = self._items.get(timeout=timeout_s)
        if item is _END:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stops the work at its next item; does not wait."""
        self._gone.set()

    def _work(self, make: Callable[[], Iterator[Any]]) -> None:
        try:
            self._put_all(make())
            self._put(_END)
        except Exception as exc:  # noqa: BLE001 - it is raised again where the items are read
            self._put(exc)
        finally:
            connections.close_all()
            leave_place()

    def _put_all(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    break
        finally:
            close = getattr(items, "close", None)
            if close:
                close()

    def _put(self, item: Any) -> bool:
        """False where nobody reads any more."""
        while not self._gone.is_set():
            try:
                self._items.put(item, timeout=LOOK_S)
                return True
            except queue.Full:
                continue
        return False


class EventStream:
    """The frames of a response: of each item, heartbeats between them, and of an error, which ends it.

    frame, failed: item or error -> frame. first: an item that was taken from the worker already. end: the last frame.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        frame: Callable[[Any], str],
        failed: Callable[[Exception], str],
        first: Any = None,
        end: str = "",
    ) -> None:
        self._worker, self._frame, self._failed, self._first, self._end = worker, frame, failed, first, end
        self._over = False

    def __iter__(self) -> Iterator[str]:
        if self._first is not None:
            yield self._frame(self._first)
        while not self._over:
            try:
                yield self._frame(self._worker.get(HEARTBEAT_S))
            except queue.Empty:
                yield HEARTBEAT
            except StopIteration:
                self._over = True
                if self._end:
                    yield self._end
            except Exception as exc:  # noqa: BLE001 - the status line is sent: the client is told in the stream
                self._over = True
                yield self._failed(exc)

    def close(self) -> None:
        """Called by the server when the response is sent, or cannot be sent any more."""
        self._worker.close()


def respond(stream: EventStream) -> StreamingHttpResponse:
    response = StreamingHttpResponse(stream, content_type="text/event-stream; charset=utf-8")
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"  # nginx would hold the pieces back
    return response


def named(event: str, data: Any) -> str:
    """One event with its name; JSON has no line breaks of its own."""
    return f"event: {event}\n{unnamed(data)}"


def unnamed(data: Any) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
