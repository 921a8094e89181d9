from __future__ import annotations

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from memory_service.models import Membership, Organisation, Project

from .conftest import PASSWORD, make_session, make_user, remember, say

HTMX = {"HX-Request": "true"}


def test_it_opens_the_door_with_a_password(alice):
    client = Client()

    response = client.post(reverse("login"), {"username": "alice", "password": PASSWORD})

    assert response.status_code == 302
    assert response.url == reverse("sessions")
    assert client.get(reverse("sessions")).status_code == 200


def test_it_says_what_is_wrong_with_a_login(alice):
    response = Client().post(reverse("login"), {"username": "alice", "password": "wrong"})

    assert response.status_code == 200
    assert "Please enter a correct username and password" in response.content.decode()


def test_it_returns_to_the_page_that_was_asked_for(alice, project):
    session = make_session(project, "oslo")
    client = Client()
    asked = reverse("session", args=[session.public_id])

    login = client.get(asked)
    response = client.post(login.url, {"username": "alice", "password": PASSWORD, "next": asked})

    assert login.url == f"{reverse('login')}?next={asked}"
    assert response.url == asked


def test_it_does_not_redirect_to_another_host_after_login(alice):
    data = {"username": "alice", "password": PASSWORD, "next": "https://evil.example/"}

    assert Client().post(reverse("login"), data).url == reverse("sessions")


def test_it_signs_out_by_post_alone(alice, sign_in):
    client = sign_in(alice)

    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).status_code == 302
    assert client.get(reverse("sessions")).status_code == 302


def test_it_asks_everyone_else_to_log_in(project):
    session = make_session(project, "oslo")
    urls = [reverse("sessions"), reverse("session", args=[session.public_id])]

    for url in urls:
        page, fragment = Client().get(url), Client().get(url, headers=HTMX)
        assert page.url == f"{reverse('login')}?next={url}"
        # The whole page is loaded anew, and only then redirected: no login form inside a list.
        assert fragment.headers["HX-Refresh"] == "true"
        assert not fragment.content
    assert Client().get("/").url == reverse("sessions")
    assert Client().post(reverse("choose_project", args=[project.public_id])).url.startswith(reverse("login"))


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_it_shows_a_session_to_members_and_hides_it_from_strangers(project, alice, bob, charlie, sign_in, headers):
    session = make_session(project, "oslo")
    [message] = say(session, "My passport number is 12345.", name="Maya")
    remember(message, "Maya's passport number is 12345.")
    url = reverse("session", args=[session.public_id])

    for member in (alice, bob):
        response = sign_in(member).get(url, headers=headers)
        assert response.status_code == 200
        assert "passport" in response.content.decode()
    response = sign_in(charlie).get(url, headers=headers)
    assert response.status_code == 404
    assert "passport" not in response.content.decode()
    assert "oslo" not in response.content.decode()


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_it_lists_nothing_of_other_projects(project, charlie, sign_in, headers):
    say(make_session(project, "oslo"), "My passport number is 12345.")
    client = sign_in(charlie)

    for query in ("", "?q=passport", "?q=oslo", "?user=maya"):
        body = client.get(reverse("sessions") + query, headers=headers).content.decode()
        assert "0 sessions" in body
        assert "maya</option>" not in body
        assert ">oslo<" not in body


def test_it_answers_404_for_a_session_that_is_not(alice, sign_in):
    assert sign_in(alice).get(reverse("session", args=[uuid.uuid4()])).status_code == 404


def test_it_greets_a_user_without_a_project(db, sign_in):
    client = sign_in(make_user("dana"))

    response = client.get(reverse("sessions"))

    assert response.status_code == 200
    assert "You are not a member of a project yet" in response.content.decode()


def test_it_keeps_the_chosen_project(project, alice, sign_in):
    second = Project.objects.create(organisation=Organisation.objects.create(name="Zeta"), name="Other")
    Membership.objects.create(project=second, user=alice, role=Membership.Role.VIEWER)
    make_session(project, "oslo")
    make_session(second, "bergen")
    client = sign_in(alice)
    assert ">oslo<" in client.get(reverse("sessions")).content.decode()

    client.post(reverse("choose_project", args=[second.public_id]))

    body = client.get(reverse("sessions")).content.decode()
    assert ">bergen<" in body
    assert ">oslo<" not in body


def test_it_falls_back_when_the_membership_ends(project, alice, sign_in):
    second = Project.objects.create(organisation=Organisation.objects.create(name="Zeta"), name="Other")
    place = Membership.objects.create(project=second, user=alice)
    make_session(project, "oslo")
    make_session(second, "bergen")
    client = sign_in(alice)
    client.post(reverse("choose_project", args=[second.public_id]))

    place.delete()

    assert ">bergen<" not in client.get(reverse("sessions")).content.decode()


def test_it_does_not_let_a_stranger_choose_a_project(project, charlie, sign_in):
    client = sign_in(charlie)

    assert client.post(reverse("choose_project", args=[project.public_id])).status_code == 404
    assert client.get(reverse("choose_project", args=[project.public_id])).status_code == 405


def test_a_session_opened_by_its_address_brings_its_project(project, alice, sign_in):
    second = Project.objects.create(organisation=Organisation.objects.create(name="Zeta"), name="Other")
    Membership.objects.create(project=second, user=alice)
    session = make_session(second, "bergen")
    client = sign_in(alice)

    client.get(reverse("session", args=[session.public_id]))

    assert ">bergen<" in client.get(reverse("sessions")).content.decode()


def test_it_allows_nothing_inline_and_nothing_from_elsewhere(alice, sign_in):
    for response in (Client().get(reverse("login")), sign_in(alice).get(reverse("sessions"))):
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "HX-Request" in response.headers["Vary"]
        body = response.content.decode()
        assert "://" not in body.replace("http://testserver", "")
        assert " style=" not in body
        assert " onclick=" not in body
