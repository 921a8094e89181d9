from __future__ import annotations

import pytest

from tests.conftest import ApiClient


@pytest.fixture
def talk(client: ApiClient) -> ApiClient:
    said = ["The quarterly report is due on Monday.", "We ate pancakes for breakfast."]
    client.post("/v3/memories/add/", {"messages": [{"role": "user", "content": t} for t in said], "user_id": "ann"})
    return client


def ask(client: ApiClient, **options: object) -> list[dict[str, object]]:
    body = {"query": "quarterly report", "filters": {"user_id": "ann"}, "explain": True, **options}
    return client.post("/v3/memories/search/", body).json["results"]


def test_it_searches_by_meaning_alone_where_words_are_switched_off(talk: ApiClient) -> None:
    assert ask(talk)[0]["score_breakdown"]["bm25"] > 0
    assert {hit["score_breakdown"]["bm25"] for hit in ask(talk, keyword_search=False)} == {0.0}
    assert ask(talk, keyword_search=True) == ask(talk)
