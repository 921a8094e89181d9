"""The process that reads one file: limits first, then the parser; what it finds goes out as JSON lines.

{"num_pages": 12, "title": "..."}    {"text": "...", "page": 1}    {"done": true}    {"error": "a sentence"}
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from .types import Head, Limits, Refused


def main() -> None:
    """argv: format, file, how many pieces to leave out, limits as JSON."""
    name, path, skip, limits = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Limits(**json.loads(sys.argv[4]))
    restrict(limits)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is not ours to say

    def say(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    try:
        parse = importlib.import_module(f"{__package__}.{name}").parse
        for found in parse(path, limits, skip):
            if isinstance(found, Head):
                say({"num_pages": found.num_pages, "title": found.title})
            else:
                say({"text": found.text, "page": found.page})
        say({"done": True})
    except Refused as exc:
        say({"error": str(exc)})
    except MemoryError:
        say({"error": f"reading the file takes more than {limits.memory_mb} MB of memory"})
    except RecursionError:
        say({"error": "the file is nested too deeply to be read"})
    out.flush()


def restrict(limits: Limits) -> None:
    """Of this process, for good: memory, processor time, no files written, no children, no core."""
    seconds = max(1, int(limits.timeout_s))
    wanted = {
        resource.RLIMIT_AS: limits.memory_mb * 2**20,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for what, value in wanted.items():
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
