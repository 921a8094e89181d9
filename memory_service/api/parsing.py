"""Bodies: JSON of a bounded size whose every string can be stored."""

from __future__ import annotations

import json
import math
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from memory_service.errors import TooLarge
from memory_service.validation import check_json

MAX_NESTING = 60


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: Any = None, parser_context: Any = None) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"the body is over {limit // 1024**2} MB: send it in several requests")
        try:
            data = _read(body.decode("utf-8")) if body.strip() else {}
        except (ValueError, RecursionError) as exc:
            raise ParseError(f"the body is not JSON in UTF-8: {exc}") from exc
        check_json(data, name="body", depth=MAX_NESTING)
        return data


def _read(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _finite(written: str) -> float:
    """1e999 is JSON, but it would be read as infinity, which no table and no answer can hold."""
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"the number {written[:40]} is too large")
    return number
