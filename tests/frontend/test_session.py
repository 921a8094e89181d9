from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from frontend.sessions import Segment, split_at_sources
from memory_service.models import Event, EventStatus, Memory, MemoryState

from .conftest import make_event, make_session, remember, say

HTMX = {"HX-Request": "true"}


@pytest.fixture
def client(alice, sign_in):
    return sign_in(alice)


@pytest.fixture
def session(project):
    return make_session(project, "oslo", user_id="maya", agent_id="concierge")


def read(client, session, query="", **kwargs):
    response = client.get(reverse("session", args=[session.public_id]) + query, **kwargs)
    assert response.status_code == 200
    return response.content.decode()


def test_it_shows_what_was_said_and_what_was_remembered(client, session):
    [asked] = say(session, "I work at Equinor now.\nI start in May.", name="Maya Lind")
    say(session, "Congratulations!", role="assistant")
    remember(asked, "Maya works at Equinor.", of="I work at Equinor", entities={"Equinor": "organisation"})
    remember(
        asked,
        "Maya starts her new job in May 2026.",
        of="I start in May",
        kind=Memory.Kind.EPISODIC,
        valid_at=datetime(2026, 5, 1, tzinfo=UTC),
    )
    session.summary = "Maya found work."
    session.save()

    body = read(client, session)

    assert "<b>Maya Lind</b>" in body
    assert "<b>Assistant</b>" in body
    assert ">ML</span>" in body
    assert re.search(r'data-sources="\d+">I work at Equinor</span> now.\n', body)
    assert body.index("Maya works at Equinor.") < body.index("Maya starts her new job")
    assert '<span class="badge kind">semantic</span>' in body
    assert '<span class="badge kind">episodic</span>' in body
    assert '<time datetime="2026-05-01T00:00:00+00:00">1 May 2026</time>' in body
    assert '<span class="chip" title="organisation">Equinor</span>' in body
    assert "Maya found work." in body
    assert "<dt>Messages</dt><dd>2</dd>" in body
    assert "<dt>Memories</dt><dd>2</dd>" in body
    assert "<dt>Agent</dt><dd>concierge</dd>" in body


def test_it_marks_what_no_longer_holds_and_hides_what_was_deleted(client, session):
    [message] = say(session, "I live in Bergen.")
    remember(message, "Maya lives in Bergen.", state=MemoryState.SUPERSEDED)
    remember(message, "Maya owns a castle.", state=MemoryState.QUARANTINED)
    remember(message, "Maya has a secret.", state=MemoryState.DELETED)

    body = read(client, session)

    assert "<s>Maya lives in Bergen.</s>" in body
    assert "quarantined: not grounded" in body
    assert "Maya has a secret." not in body
    assert "<dt>Memories</dt><dd>0</dd>" in body


@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.RUNNING])
def test_it_polls_while_events_of_its_scope_are_unfinished(client, session, status):
    say(session, "I am moving to Oslo.")
    assert "every 2s" not in read(client, session)

    make_event(session, status)

    body = read(client, session)
    assert 'hx-trigger="every 2s"' in body
    assert "1 event to go" in body
    poll = re.search(r'id="poll" hx-get="([^"]+)"', body).group(1).replace("&amp;", "&")
    unchanged = client.get(reverse("session", args=[session.public_id]) + poll, headers=HTMX)
    assert unchanged.status_code == 204

    Event.objects.update(status=EventStatus.SUCCEEDED)

    fragment = read(client, session, poll, headers=HTMX)
    assert "I am moving to Oslo." in fragment
    assert "every 2s" not in fragment
    assert "Up to date" in fragment
    assert "<html" not in fragment


def test_it_does_not_poll_for_another_scope(client, project, session):
    make_event(make_session(project, "other", user_id="tom"), EventStatus.PENDING)

    assert "every 2s" not in read(client, session)


def test_it_says_why_an_event_failed(client, session):
    failed = make_event(session, EventStatus.FAILED, error="The model answered 401: check LLM_API_KEY.")
    say(session, "I am moving to Oslo.", event=failed)

    assert "The model answered 401: check LLM_API_KEY." in read(client, session)


def test_it_loads_long_sessions_in_parts(client, session):
    say(session, *[f"message {n}." for n in range(250)])

    page = read(client, session)
    part = read(client, session, "?after=100", headers=HTMX)
    rest = read(client, session, "?after=200", headers=HTMX)

    assert said(page) == [f"message {n}." for n in range(100)]
    assert "150 more messages" in page
    assert 'href="?shown=200"' in page
    assert 'hx-get="?after=100&amp;seen=' in page
    assert said(part) == [f"message {n}." for n in range(100, 200)]
    assert "<html" not in part
    assert said(rest) == [f"message {n}." for n in range(200, 250)]
    assert "Load more" not in rest
    assert said(read(client, session, "?shown=200")) == [f"message {n}." for n in range(200)]


def test_loading_more_keeps_a_page_polling_until_it_is_up_to_date(client, session):
    say(session, *["hello"] * 150)

    stale = read(client, session, "?after=100&seen=an-older-version", headers=HTMX)

    assert 'hx-get="?shown=200&amp;seen=an-older-version" hx-trigger="every 2s"' in stale


@pytest.mark.parametrize(
    "query", ["?shown=-1", "?shown=x", "?shown=²", "?after=%00", "?shown=999999999999", "?after=9"]
)
def test_it_survives_counts_that_are_none(client, session, query):
    say(session, "hello")

    assert said(read(client, session, query)) == ["hello"]


def test_it_shows_an_empty_session(client, session):
    assert "No messages" in read(client, session)


def test_it_escapes_what_users_supply(client, project):
    attack = "<script>alert(1)</script>"
    session = make_session(project, attack, user_id=attack, agent_id='"onmouseover="alert(1)')
    [message] = say(session, f"before {attack} after", name=attack)
    remember(message, f"{attack} was said.", of=attack, entities={attack: '"><script>'})
    session.summary = attack
    session.save()
    failed = make_event(session, EventStatus.FAILED, error=attack)
    say(session, "again", event=failed)

    body = read(client, session)

    assert "<script>" not in body
    assert '"onmouseover' not in body
    assert re.search(
        r'before <span class="span" data-sources="\d+">&lt;script&gt;alert\(1\)&lt;/script&gt;</span> after',
        body,
    )


def test_its_queries_do_not_grow_with_the_session(client, session, django_assert_num_queries):
    def fill(n):
        for message in say(session, *[f"I am moving to Oslo, {n} {i}." for i in range(n)]):
            remember(
                message,
                f"Maya is moving: {message.content}",
                entities={"Oslo": "place", f"E{message.pk}": "x"},
            )

    fill(2)
    client.get(reverse("session", args=[session.public_id]))  # remembers the project
    # login session, user, session; progress (2), messages, sources, entities, failures, projects
    with django_assert_num_queries(10):
        read(client, session)
    fill(90)
    with django_assert_num_queries(10):
        read(client, session)
    with django_assert_num_queries(9):
        read(client, session, headers=HTMX)


def said(body):
    return [re.sub(r"<[^>]+>", "", text) for text in re.findall(r'<p class="bubble">(.*?)</p>', body, re.DOTALL)]


def test_it_cuts_a_text_where_spans_overlap():
    assert split_at_sources("abcdef", [(1, 0, 4), (2, 2, 6)]) == [
        Segment("ab", (1,)),
        Segment("cd", (1, 2)),
        Segment("ef", (2,)),
    ]
    assert split_at_sources("abc", []) == [Segment("abc", ())]
    assert split_at_sources("", [(1, 0, 0)]) == []


@given(
    st.text(max_size=30),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40)), max_size=6),
)
def test_cutting_a_text_loses_nothing(content, spans):
    segments = split_at_sources(content, spans)

    assert "".join(segment.text for segment in segments) == content
    for pk, start, end in spans:
        marked = "".join(s.text for s in segments if pk in s.source_ids)
        assert len(marked) >= len(content[start:end])
