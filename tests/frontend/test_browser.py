"""The dashboard in a real browser. SCREENSHOTS=docs/images saves what it sees there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Page, expect, sync_playwright

from memory_service.models import Event, EventStatus

from . import scene
from .conftest import PASSWORD, make_event, make_session, say

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
LOCAL_HOSTS = {"127.0.0.1", "localhost"}
COMPLAINTS = {"error", "warning"}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH or in $CHROMIUM")


@pytest.fixture
def page(monkeypatch) -> Iterator[Page]:
    """A page that fails the test if it asks another host for anything, or complains on its console."""
    # Playwright's sync API runs an asyncio loop in this thread, in which Django refuses its ORM otherwise.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=DESKTOP, color_scheme="light")
        page.set_default_timeout(10_000)
        requested: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda line: complaints.append(line.text) if line.type in COMPLAINTS else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
        connections.close_all()  # the loop had one of its own, which would keep the test database from going
    assert requested
    assert [url for url in requested if urlsplit(url).hostname not in LOCAL_HOSTS] == []
    assert complaints == []


@pytest.mark.django_db(transaction=True)
def test_it_shows_where_a_memory_comes_from(live_server, project, alice, page):
    session = scene.build(project)
    address = live_server.url + reverse("session", args=[session.public_id])

    _log_in(page, live_server.url)
    _shoot(page, "sessions")
    _search_with_htmx(page)
    page.get_by_role("link", name="oslo-flat-search").click()
    page.wait_for_url(address)
    _light_up_a_memory(page)
    _watch_it_finish(page, session)
    _load_more(page, live_server.url, project)
    _look_in_the_dark(page, live_server.url, address)
    _look_on_a_phone(page, live_server.url, address)


def _log_in(page, url):
    page.goto(url)
    assert page.url.startswith(url + reverse("login"))
    _shoot(page, "login")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(url + reverse("sessions"))
    assert page.locator("tbody tr").count() == len(scene.OTHERS) + 1


def _search_with_htmx(page):
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Search").fill("tomatoes balcony")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 session found")
    expect(page).to_have_url(re.compile("q=tomatoes%20balcony"))
    assert page.evaluate("window.sameDocument") is True
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(len(scene.OTHERS) + 1)


def _light_up_a_memory(page):
    said = "I start as a paper conservator on 4 May"
    memory = page.get_by_role("link", name="Maya works as a paper conservator")
    lit = page.locator(".span.lit")
    ground = "node => getComputedStyle(node).backgroundColor"
    assert lit.count() == 0
    dark = page.get_by_text(said, exact=True).evaluate(ground)

    memory.hover()
    page.wait_for_timeout(300)  # the colour fades in

    assert lit.all_inner_texts() == [said]
    assert lit.evaluate(ground) != dark
    _shoot(page, "session")
    page.get_by_role("heading", level=1).hover()
    assert lit.count() == 0
    memory.focus()  # by keyboard as by pointer
    assert lit.all_inner_texts() == [said]
    page.get_by_text(said, exact=True).hover()  # and from the passage to what rests on it
    assert "paper conservator" in page.locator(".memory.lit").inner_text()


def _watch_it_finish(page, session):
    event = make_event(session, EventStatus.RUNNING)
    page.reload()
    status = page.get_by_role("status")
    assert "1 event to go" in status.inner_text()

    Event.objects.filter(pk=event.pk).update(status=EventStatus.SUCCEEDED)

    page.get_by_text("Up to date").wait_for()
    assert page.locator("[hx-trigger]").count() == 0


def _load_more(page, url, project):
    session = make_session(project, "long", user_id="tom")
    say(session, *[f"Message {n}." for n in range(150)], event=make_event(session, EventStatus.PENDING))
    page.goto(url + reverse("session", args=[session.public_id]))
    expect(page.locator(".turn")).to_have_count(100)

    page.get_by_role("link", name="Load more").click()

    expect(page.locator(".turn")).to_have_count(150)
    assert page.locator("#poll").get_attribute("hx-get").startswith("?shown=200&")
    assert page.url.endswith("?shown=200")
    Event.objects.update(status=EventStatus.SUCCEEDED)
    page.get_by_text("Up to date").wait_for()
    assert page.locator(".turn").count() == 150  # what was loaded stays when the page is brought up to date


def _look_in_the_dark(page, url, address):
    page.emulate_media(color_scheme="dark")
    for name, at in (("sessions", url + reverse("sessions")), ("session", address)):
        page.goto(at)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(channel) for channel in re.findall(r"\d+", ground)) < 60
        _shoot(page, f"{name}-dark")


def _look_on_a_phone(page, url, address):
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    for name, at in (("sessions", url + reverse("sessions")), ("session", address)):
        page.goto(at)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        _shoot(page, f"{name}-phone")


def _shoot(page, name):
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", caret="initial")
