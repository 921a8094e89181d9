"""A parser in a process of its own: a file that kills it, fills its memory or never ends, fails alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

from .formats import MEDIA_TYPES
from .types import Head, Limits, Piece, Refused

# Not through memory_service, whose package loads Celery.
START = "import sys; sys.path.append({folder!r}); from parsing.child import main; main()"
MAX_LINE_BYTES = 16 * 2**20
WORDS = {
    -signal.SIGXCPU: "reading it takes more processor time than is allowed",
    -signal.SIGSEGV: "the parser crashed on it: the file is damaged",
    -signal.SIGABRT: "the parser gave up on it: the file is damaged, or takes too much memory",
    -signal.SIGBUS: "the parser crashed on it: the file is damaged",
}


def run_parser(name: str, path: Path, limits: Limits, *, skip: int = 0) -> Generator[Head | Piece, None, None]:
    """The head and the pieces, as the parser finds them; `skip` pieces at the beginning are left out.

    Raises Refused, with a sentence, for whatever is wrong with the file. Closing the iterator ends the process.
    """
    assert name in MEDIA_TYPES  # find_format says so
    code = START.format(folder=str(Path(__file__).resolve().parent.parent))
    command = [sys.executable, "-I", "-c", code, name, str(path), str(skip), json.dumps(asdict(limits))]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        clock = threading.Timer(limits.timeout_s, stop)
        clock.daemon = True
        clock.start()
        try:
            yield from _read(process, limits)
            return
        except _Ended:
            process.wait()
        finally:
            clock.cancel()
            process.kill()
    if late.is_set():
        raise Refused(f"reading it takes longer than {limits.timeout_s:g} s")
    code_ = process.returncode
    raise Refused(WORDS.get(code_, f"the parser ended without an answer (status {code_}): the file is damaged"))


class _Ended(Exception):
    """The process is gone, and has not said that it is done."""


def _read(process: subprocess.Popen[bytes], limits: Limits) -> Iterator[Head | Piece]:
    assert process.stdout is not None  # asked for
    num_chars = 0
    while True:
        line = process.stdout.readline(MAX_LINE_BYTES + 1)
        if len(line) > MAX_LINE_BYTES:
            raise Refused("one page of it holds more text than can be read")
        if not line.endswith(b"\n"):
            raise _Ended
        said = json.loads(line)
        if "error" in said:
            raise Refused(said["error"])
        if said.get("done"):
            return
        if "text" in said:
            num_chars += len(said["text"])
            if num_chars > limits.max_chars:
                raise Refused(f"the text has over {limits.max_chars} characters: at most so many are accepted")
            yield Piece(said["text"], said["page"])
        else:
            yield Head(said["num_pages"], said["title"])
