"""The stable order: what was shown stays where it was, until it is no longer true."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memory_service import forgetting, platform_tasks, stable_order, tokens
from memory_service.context import Context, assemble
from memory_service.formats import FORMATS
from memory_service.models import ContextLedger, Memory, Project
from tests.memory_service.test_context import check, remember, request

FOODS = ["pancakes", "herring", "lentils", "mango", "porridge", "noodles", "olives", "walnuts", "spinach", "cheese"]
TALK = [f"I ate {food} with my friend at the {place}." for food in FOODS for place in ("harbour", "office", "garden")]


def ask(project: Project, query: str, **wishes: Any) -> Context:
    asked = request(query, **({"order": "stable", "session": "chat-1", "max_tokens": 400} | wishes))
    found = assemble(project, asked)
    check(found, asked)
    return found


def common_prefix(left: str, right: str) -> str:
    index = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return left[:index]


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("compress", ["none", "extractive"])
def test_it_begins_as_the_context_before_and_says_how_far(project: Project, name: str, compress: str) -> None:
    remember(project, TALK)
    before = ask(project, "pancakes", format=name, top_k=5, compress=compress)
    assert before.unchanged_tokens == 0
    for food in FOODS[1:]:
        found = ask(project, food, format=name, top_k=5, compress=compress)
        assert found.unchanged_tokens is not None and food in found.text
        same = common_prefix(before.text, found.text)
        assert tokens.tokenizer_for().count(same) + 1 >= found.unchanged_tokens
        assert found.text.startswith(found.text[: len(same)])
        if found.epoch == before.epoch:
            assert found.unchanged_tokens > 0
        before = found


def test_it_appends_while_there_is_room(project: Project) -> None:
    remember(project, TALK)
    first = ask(project, "pancakes", top_k=3, max_tokens=2000)
    second = ask(project, "herring", top_k=3, max_tokens=2000)
    assert second.text.startswith(first.text) and len(second.items) > len(first.items)
    assert second.unchanged_tokens == pytest.approx(first.num_tokens, abs=1)
    third = ask(project, "herring", top_k=3, max_tokens=2000)
    assert third.text == second.text and third.unchanged_share == 1.0


def test_it_keeps_the_share_that_was_asked_for(project: Project) -> None:
    remember(project, TALK)
    shares = [ask(project, food, keep_share=0.8, max_tokens=300).unchanged_share or 0 for food in FOODS]
    assert min(shares[1:]) > 0.7
    without = [
        ask(project, food, keep_share=0.0, max_tokens=300, session="other").unchanged_share or 0 for food in FOODS
    ]
    assert sum(without) < sum(shares)


def test_sessions_and_shapes_are_apart(project: Project) -> None:
    remember(project, TALK)
    ask(project, "pancakes", top_k=3)
    assert ask(project, "herring", top_k=3, session="chat-2").unchanged_tokens == 0
    other = ask(project, "herring", top_k=3, format="yaml")
    assert other.unchanged_tokens == 0 and other.epoch == 1
    assert ContextLedger.objects.count() == 2


@pytest.mark.parametrize("change", ["deleted", "reworded", "superseded", "redated"])
@pytest.mark.parametrize("name", ["markdown", "toon"])
def test_what_is_no_longer_true_is_gone_from_the_next_context(project: Project, change: str, name: str) -> None:
    remember(project, TALK)
    first = ask(project, "pancakes", top_k=6, max_tokens=2000, format=name)
    in_order = sorted(first.items, key=lambda item: item.start)
    victim = Memory.objects.get(public_id=in_order[3].id)
    old_line = first.text[in_order[3].start : in_order[3].end]
    changes: dict[str, dict[str, Any]] = {
        "deleted": {"state": "deleted"},
        "reworded": {"text": "I never ate that."},
        "superseded": {"state": "superseded", "invalid_at": timezone.now()},
        "redated": {"said_at": victim.said_at - timedelta(days=900)},
    }
    Memory.objects.filter(pk=victim.pk).update(**changes[change])
    second = ask(project, "pancakes", top_k=6, max_tokens=2000, format=name)
    gone = victim.said_at.date().isoformat() if change == "redated" else old_line  # every memory has a day of its own
    assert gone not in second.text
    assert second.unchanged_tokens == 0 if name == "toon" else second.unchanged_tokens > 0  # type: ignore[operator]
    assert "I ate pancakes" in second.text


def test_a_memory_that_the_filter_keeps_back_is_not_shown(project: Project) -> None:
    remember(project, TALK, user="ann")
    remember(project, ["I ate pancakes in secret."], user="bob")
    both = {"OR": [{"user_id": "ann"}, {"user_id": "bob"}]}
    assert "in secret" in ask(project, "pancakes secret", raw=both).text
    assert "in secret" not in ask(project, "pancakes secret").text


def test_another_project_has_its_own_ledger(project: Project) -> None:
    other = Project.objects.create(organisation=project.organisation, name="Other")
    remember(project, TALK)
    remember(other, ["I ate snails."])
    ask(project, "pancakes", top_k=3)
    found = ask(other, "food", top_k=3)
    assert found.unchanged_tokens == 0 and "snails" in found.text and "pancakes" not in found.text


def test_the_ledger_holds_no_text_and_is_forgotten_with_the_user(project: Project) -> None:
    remember(project, ["I keep zqxkvj in the shed."])
    ask(project, "zqxkvj", session="zqxkvj-chat")
    row = ContextLedger.objects.get()
    assert "zqxkvj" not in repr((row.key_hash, row.shape, row.entries, row.scope_ids)) and len(row.entries) == 1
    counts = forgetting.forget_entity(project, "user", "ann")
    assert counts["context_ledgers"] == 1 and not ContextLedger.objects.exists()
    assert ask(project, "zqxkvj", session="zqxkvj-chat").items == []


def test_a_ledger_expires(project: Project) -> None:
    remember(project, TALK)
    ask(project, "pancakes", top_k=3)
    ContextLedger.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ask(project, "herring", top_k=3).unchanged_tokens == 0
    ContextLedger.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    platform_tasks.tidy()
    assert not ContextLedger.objects.exists()


def test_it_keeps_more_of_a_larger_budget() -> None:
    shares = [stable_order.default_keep_share(budget) for budget in (16, 1000, 4000, 8000, 200_000)]
    assert shares == pytest.approx([0.00164, 0.1025, 0.41, 0.82, 0.82])


def test_by_default_it_keeps_four_fifths_of_a_large_budget(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_order, "FULL_KEEP_TOKENS", 300)
    remember(project, TALK)
    found = [ask(project, food, max_tokens=300) for food in FOODS]
    assert min(one.unchanged_share or 0 for one in found[1:]) > 0.75 and {one.epoch for one in found} == {0}
    assert all(f"I ate {food}" in one.text for food, one in zip(FOODS, found, strict=True))


SMALL_TALK = [f"We talked of {thing} and it was good fun, all of it." for thing in FOODS]
SPECIFIC = ["I met Clara in 2019.", "There were 7 of us.", "My sister told Oscar."]


def test_what_stays_says_most_whatever_the_first_question_was(project: Project) -> None:
    remember(project, SMALL_TALK + SPECIFIC)
    wishes = {"max_tokens": 200, "keep_share": 0.4}  # about 75 tokens stay, dates with them: three memories
    first = ask(project, "We talked of pancakes and herring", **wishes)
    second = ask(project, "We talked of spinach and olives", **wishes)
    same = common_prefix(first.text, second.text)
    assert all(text in same for text in SPECIFIC) and same.index(SPECIFIC[-1]) < first.text.index("talked")
    assert "pancakes" in first.text and "spinach" in second.text


def test_the_gap_that_a_deleted_memory_leaves_is_filled_for_good(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stable_order, "FULL_KEEP_TOKENS", 300)
    remember(project, TALK)
    first = ask(project, "pancakes", max_tokens=300)
    victim = min(first.items, key=lambda item: item.start)
    Memory.objects.filter(public_id=victim.id).update(state="deleted")
    second = ask(project, "herring", max_tokens=300)
    assert victim.id not in {item.id for item in second.items} and (second.unchanged_tokens, second.epoch) == (0, 1)
    third = ask(project, "lentils", max_tokens=300)
    assert third.unchanged_share is not None and third.unchanged_share > 0.75
