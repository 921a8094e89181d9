from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from memory_service.models import EventStatus, MemoryState

from .conftest import START, make_event, make_session, remember, say

HTMX = {"HX-Request": "true"}


@pytest.fixture
def client(alice, sign_in):
    return sign_in(alice)


def read(client, query="", **kwargs):
    response = client.get(reverse("sessions") + query, **kwargs)
    assert response.status_code == 200
    return response.content.decode()


def runs(body):
    return [run.strip() for run in re.findall(r'class="row-link"[^>]*>([^<]*)<', body)]


def test_it_lists_sessions_newest_first_with_their_counts(client, project):
    old = make_session(project, "visa", said_at=START - timedelta(days=9), user_id="tom", agent_id="concierge")
    new = make_session(project, "oslo", user_id="maya")
    say(old, "Thanks!")
    messages = say(new, *["I am moving to Oslo."] * 3)
    remember(messages[0], "Maya is moving to Oslo.")
    remember(messages[1], "Maya lives in Bergen.", state=MemoryState.SUPERSEDED)

    body = read(client)

    assert runs(body) == ["oslo", "visa"]
    assert "2 sessions" in body
    assert "3 messages · 1 memory" in body
    assert "concierge" in body
    assert f'<time datetime="{START.isoformat()}">2\xa0Mar\xa02026 09:00</time>' in body


def test_it_says_what_to_do_when_there_is_nothing(client):
    assert "Nothing was said yet" in read(client)
    assert "No session matches" in read(client, "?q=oslo")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=OSL", ["oslo"]),  # a part of a run
        ("?q=tom", ["visa"]),  # of a user
        ("?q=permit+residence", ["visa"]),  # words of one message, in any order
        ("?q=residence+flat", []),  # words of two messages
        ("?q=%25", []),  # a wildcard is a character like another
        ("?user=maya", ["oslo"]),
        ("?user=may", []),
        ("?agent=concierge", ["visa"]),
        ("?agent=web", ["visa"]),  # the app
        ("?q=oslo&user=tom", []),
        ("?q=&user=&agent=", ["oslo", "visa"]),
    ],
)
def test_it_searches_and_filters(client, project, query, found):
    visa = make_session(
        project, "visa", said_at=START - timedelta(days=1), user_id="tom", agent_id="concierge", app_id="web"
    )
    say(visa, "I have a residence permit.")
    oslo = make_session(project, "oslo", user_id="maya")
    say(oslo, "I found a flat.")

    assert runs(read(client, query)) == found


def test_it_complains_about_a_search_it_cannot_make(client, project):
    make_session(project, "oslo")

    assert "Search: Null characters are not allowed." in read(client, "?q=os%00lo")
    assert "Search: Ensure this value has at most 255 characters" in read(client, "?q=" + "a" * 300)


def test_it_serves_the_fragment_alone_to_htmx(client, project):
    make_session(project, "oslo")

    page, fragment = read(client), read(client, headers=HTMX)

    assert "<html" in page
    assert "<html" not in fragment
    assert runs(page) == runs(fragment) == ["oslo"]
    assert 'id="results"' in fragment
    assert "hx-swap-oob" in fragment
    assert "hx-swap-oob" not in page


def test_it_serves_the_page_when_htmx_restores_its_history(client):
    assert "<html" in read(client, headers=HTMX | {"HX-History-Restore-Request": "true"})


def test_it_pages(client, project):
    for n in range(120):
        make_session(project, f"run-{n}", said_at=START + timedelta(minutes=n))

    first, last, beyond = read(client, "?q=run"), read(client, "?q=run&page=3"), read(client, "?page=99")

    assert runs(first) == [f"run-{n}" for n in range(119, 69, -1)]
    assert "1–50 of 120" in first
    assert 'hx-get="?q=run&amp;page=2"' in first
    assert 'href="?q=run&amp;page=2"' in first
    assert runs(last) == runs(beyond) == [f"run-{n}" for n in range(19, -1, -1)]
    assert 'rel="next"' not in last


def test_it_marks_the_sessions_that_events_wait_for(client, project):
    busy, idle = make_session(project, "busy"), make_session(project, "idle")
    say(busy, "one", event=make_event(busy, EventStatus.PENDING))
    running = make_event(busy, EventStatus.RUNNING)
    say(busy, "two", "three", event=running)
    say(idle, "done")

    body = read(client)

    assert body.count("badge pending") == 1
    assert "2 pending" in body


def test_it_escapes_what_users_supply(client, project):
    attack = "<script>alert(1)</script>"
    session = make_session(project, attack, user_id=attack, agent_id='"><img src=x onerror=alert(1)>')
    session.summary = attack
    session.save()

    body = read(client)

    assert "<script>alert" not in body
    assert "<img" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert "<script>alert" not in read(client, "?q=%3Cscript%3Ealert(1)%3C/script%3E")


def test_its_queries_do_not_grow_with_the_list(client, project, django_assert_num_queries):
    def fill(n):
        for i in range(n):
            session = make_session(project, f"run-{n}-{i}", user_id=f"user-{n}-{i}", agent_id="concierge")
            messages = say(session, "I am moving to Oslo.", "In May.", event=make_event(session, EventStatus.PENDING))
            remember(messages[0], "Maya is moving to Oslo.")

    fill(3)
    # login session, user; projects, users, agents, apps to choose from; count, page
    with django_assert_num_queries(8):
        read(client, "?q=oslo")
    fill(40)
    with django_assert_num_queries(8):
        read(client, "?q=oslo")
    with django_assert_num_queries(5):
        read(client, "?q=oslo", headers=HTMX)
