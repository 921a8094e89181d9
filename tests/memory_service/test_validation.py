"""What can be stored: every string inside JSON is looked at, and a bad one is found again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from memory_service import validation
from memory_service.errors import InvalidInput, TooLarge
from memory_service.validation import check_json


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("\x00", "body holds a NUL character at position 0"),
        (
            {"a": [1, {"b": ["fine", "x\ud800"]}]},
            r"body\.a\[1\]\.b\[1\] holds a lone surrogate \(U\+D800\) at position 1",
        ),
        ({"a": [{}, [], {"b\x00": 1}]}, r"a key of body\.a\[2\] holds a NUL character at position 1"),
        ({"a": {"b": []}, "c": {"d": "\x00"}}, r"body\.c\.d holds"),
        ([[1], [2, [3]], "\x00"], r"body\[2\] holds"),
        ({"\x00": "\x00"}, "a key of body holds"),
        ({"a": [{"b": [{}]}]}, r"body\.a\[0\]\.b\[0\] is nested too deeply"),
    ],
    ids=str,
)
def test_it_says_where_the_fault_is(value: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        check_json(value, name="body", depth=3 if "nested" in message else 60)


@pytest.mark.parametrize("value", [None, 1, "text", [], {}, {"a": [{"b": "c"}, [[]]]}], ids=str)
def test_it_takes_what_can_be_stored(value: Any) -> None:
    check_json(value, name="body", depth=3)


def test_it_refuses_more_values_than_a_request_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MAX_JSON_VALUES", 5)
    check_json({"a": [1, 2, 3]}, name="body")
    with pytest.raises(TooLarge, match="body holds over 5 values"):
        check_json({"a": [1, 2, 3], "b": {}}, name="body")


def test_it_is_quick_with_a_body_of_numbers() -> None:
    numbers = {"a": [1] * 8_000_000}
    start = time.perf_counter()
    with pytest.raises(TooLarge, match="200000 values"):
        check_json(numbers, name="body")
    assert time.perf_counter() - start < 1
