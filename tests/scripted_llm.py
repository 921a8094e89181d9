"""A language model that says what the test wrote: a real HTTP server on loopback that speaks the OpenAI
protocol.

In a test:

    with ScriptedLLM([{"facts": []}, Status(429, retry_after="2")]) as llm:
        LLMConfig(model="openai/scripted", api_base=llm.base_url, api_key="test")

For a worker in another process, `python -m tests.scripted_llm --port N --script FILE.json`, which prints its
base URL. The file holds a list (answered in order) or an object {answer schema's name, or "text" where none
was asked for: list of replies, the last repeated}. Replies in JSON: a string is text; an object is sent as
JSON, but {"$malformed": "..."},
{"$status": 429, "retry_after": "2"}, {"$hang": seconds} and {"$cut_short": "partial"} mean the classes below.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

EMBEDDING_DIMENSIONS = 64
STREAM_PIECE = 7  # characters a chunk: small enough to split words and JSON tokens


@dataclass(frozen=True)
class Text:
    """An ordinary answer. `usage=False` leaves the token counts out, as some local servers do."""

    content: str
    usage: bool = True
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Slow(Text):
    """An ordinary answer, in a stream with a pause before each piece. `sent` counts the pieces that were taken."""

    pause_s: float = 0.1
    sent: list[str] = field(default_factory=list, hash=False)


class Malformed(Text):
    """An answer that is not the JSON asked for. It is sent like any other: the name is for the reader."""


@dataclass(frozen=True)
class Body:
    """A 200 with this JSON as its whole body, whatever the protocol says."""

    content: Any


@dataclass(frozen=True)
class Status:
    """An HTTP error. retry_after: the header as sent, seconds or an HTTP date."""

    code: int
    retry_after: str | None = None
    message: str = "scripted error"


@dataclass(frozen=True)
class Hang:
    """Say nothing for so many seconds, then close."""

    seconds: float


@dataclass(frozen=True)
class CutShort:
    """Send part of an answer and close. `polite`: the body ends in good order, without the last event."""

    content: str
    polite: bool = False


Reply = str | Mapping[str, Any] | Text | Body | Status | Hang | CutShort
Script = Sequence[Reply] | Mapping[str, Sequence[Reply]] | Callable[[dict[str, Any]], Reply]


class ScriptedLLM:
    """Serve `script` on 127.0.0.1 until closed; every completion request is kept in `requests`, oldest first.

    script: replies in order; or replies by the name of the schema asked for ("text" if none), the last of
    each repeated; or a function from the request's JSON to a reply. When a list has run out the answer is a
    400 that says so, which no caller retries.
    """

    def __init__(self, script: Script = (), *, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._script = script if callable(script) or isinstance(script, Mapping) else list(script)
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_for(self))
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def answer(self, request: dict[str, Any]) -> Reply:
        with self._lock:
            self.requests.append(request)
            if callable(self._script):
                return self._script(request)
            if isinstance(self._script, Mapping):
                return self._next_by_name(asked_for(request))
            if self._script:
                return self._script.pop(0)
        return Status(400, message="the script has no more replies")

    def _next_by_name(self, name: str) -> Reply:
        assert isinstance(self._script, Mapping)  # the only caller has looked
        replies = self._script.get(name)
        if not replies:
            return Status(400, message=f"the script has no replies for {name!r}")
        taken = self._taken.get(name, 0)
        self._taken[name] = taken + 1
        return replies[min(taken, len(replies) - 1)]


def asked_for(request: Mapping[str, Any]) -> str:
    """The name of the answer schema in a request, or "text"."""
    wanted = request.get("response_format") or {}
    return str(wanted.get("json_schema", {}).get("name", "text"))


def prompt_of(request: Mapping[str, Any]) -> str:
    """All that the model was shown, as one text."""
    return "\n".join(message["content"] for message in request["messages"])


def embed_words(text: str, dimensions: int = EMBEDDING_DIMENSIONS) -> list[float]:
    """A unit vector of hashed words: the same text always gives the same, shared words bring texts nearer."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.casefold()) or [text]:
        hashed = zlib.crc32(word.encode())
        vector[hashed % dimensions] += 1.0 if hashed & 0x10000 else -1.0
    norm = math.sqrt(sum(x * x for x in vector))
    return [x / norm for x in vector] if norm else [1.0] + [0.0] * (dimensions - 1)


def parse_reply(written: Any) -> Reply:
    """A reply as a script file writes it. Raises ValueError on an unknown `$` word."""
    if not isinstance(written, dict) or not any(key.startswith("$") for key in written):
        reply: Reply = written
        return reply
    kinds: dict[str, Callable[..., Reply]] = {
        "$malformed": Malformed,
        "$status": Status,
        "$hang": Hang,
        "$cut_short": CutShort,
    }
    for word, kind in kinds.items():
        if word in written:
            rest = {key: value for key, value in written.items() if key != word}
            return kind(written[word], **rest)
    raise ValueError(f"scripted reply {written!r} is unknown: accepted are {', '.join(kinds)}")


def load_script(path: Path) -> Script:
    """Read a script file (see the module's docstring)."""
    written = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(written, dict):
        return {name: [parse_reply(reply) for reply in replies] for name, replies in written.items()}
    return [parse_reply(reply) for reply in written]


def _handler_for(llm: ScriptedLLM) -> type[BaseHTTPRequestHandler]:
    return type("ScriptedHandler", (_Handler,), {"llm": llm})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    llm: ScriptedLLM

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            self._json({"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "tests"}]})
        else:
            self._error(Status(404, message=f"no such path: {self.path}"))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path.endswith("/completions"):  # of chats, or of a text, which are answered by a Body
            self._complete(request)
        elif self.path.endswith("/embeddings"):
            self._embed(request)
        else:
            self._error(Status(404, message=f"no such path: {self.path}"))

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a test's output is its own."""

    def _complete(self, request: dict[str, Any]) -> None:
        reply = self.llm.answer(request)
        if isinstance(reply, Mapping):
            reply = json.dumps(reply)
        if isinstance(reply, str):
            reply = Text(reply)
        if isinstance(reply, Status):
            self._error(reply)
        elif isinstance(reply, Body):
            self._json(reply.content)
        elif isinstance(reply, Hang):
            self.llm.closing.wait(reply.seconds)
            self.close_connection = True
        elif request.get("stream"):
            self._stream(request, reply)
        elif isinstance(reply, CutShort):
            self._cut_body(reply)
        else:
            self._json(_completion(request, reply))

    def _embed(self, request: dict[str, Any]) -> None:
        texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
        size = request.get("dimensions") or EMBEDDING_DIMENSIONS
        data = [{"object": "embedding", "index": i, "embedding": embed_words(t, size)} for i, t in enumerate(texts)]
        count = sum(map(_num_tokens, texts))
        usage = {"prompt_tokens": count, "total_tokens": count}
        self._json({"object": "list", "model": "scripted", "data": data, "usage": usage})

    def _json(self, body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _error(self, reply: Status) -> None:
        headers = {"Retry-After": reply.retry_after} if reply.retry_after is not None else {}
        self._json({"error": {"message": reply.message, "type": "scripted"}}, reply.code, headers)

    def _cut_body(self, reply: CutShort) -> None:
        payload = json.dumps(_completion({"messages": []}, Text(reply.content))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload) + 1))  # one more than is ever sent
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2])
        self.close_connection = True

    def _stream(self, request: Mapping[str, Any], reply: Text | CutShort) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in _events(request, reply):
            if isinstance(reply, Slow):
                self.llm.closing.wait(reply.pause_s)
                reply.sent.append(event)
            payload = f"data: {event}\n\n".encode()
            try:
                self.wfile.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):  # the reader went away
                self.close_connection = True
                return
        if isinstance(reply, Text) or reply.polite:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True


def _events(request: Mapping[str, Any], reply: Text | CutShort) -> Iterator[str]:
    for start in range(0, len(reply.content), STREAM_PIECE):
        yield _chunk({"role": "assistant", "content": reply.content[start : start + STREAM_PIECE]}, None)
    if isinstance(reply, Text):
        yield _chunk({}, reply.finish_reason)
        if reply.usage and (request.get("stream_options") or {}).get("include_usage"):
            yield json.dumps({"object": "chat.completion.chunk", "choices": []} | _usage(request, reply))
        yield "[DONE]"


def _chunk(delta: dict[str, str], finish_reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    return json.dumps(head | {"choices": [choice]})


def _completion(request: Mapping[str, Any], reply: Text) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.content}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    body = {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 0, "model": "scripted"}
    body |= {"choices": [choice]}
    if reply.usage:
        body |= _usage(request, reply)
    return body


def _usage(request: Mapping[str, Any], reply: Text) -> dict[str, Any]:
    said = sum(_num_tokens(str(message.get("content") or "")) for message in request["messages"])
    told = _num_tokens(reply.content)
    return {"usage": {"prompt_tokens": said, "completion_tokens": told, "total_tokens": said + told}}


def _num_tokens(text: str) -> int:
    return len(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a scripted language model on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True)
    arguments = parser.parse_args()
    llm = ScriptedLLM(load_script(arguments.script), port=arguments.port)
    print(llm.base_url, flush=True)
    llm.serve_forever()


if __name__ == "__main__":
    main()
