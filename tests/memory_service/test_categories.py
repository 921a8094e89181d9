"""Categories without a model, and what happens when a project changes its list."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service import categories, ingest, tasks
from memory_service.embedding import embed_texts
from memory_service.models import Event, LifecycleSettings, Memory, MemoryRevision, Project
from tests.conftest import ApiClient, finished
from tests.llm import Start, scripted
from tests.memory_service.category_examples import DEVELOPMENT, HELD_OUT, Example
from tests.scripted_llm import prompt_of

__all__ = ["scripted"]

ANN = {"user_id": "ann"}
OWN = [{"pets": "dogs, cats and other animals at home"}, {"commute": "the daily journey: bus, train, bicycle, traffic"}]


def say(client: ApiClient, *texts: str, **more: Any) -> None:
    said = [{"role": "user", "content": text, "name": "Ann"} for text in texts]
    finished(client.post("/v3/memories/add/", {"messages": said, **ANN, **more}).json["event_id"])


def of_facts() -> dict[str, list[str]]:
    return dict(Memory.objects.live().filter(kind="semantic").values_list("text", "categories"))


def measure(examples: list[Example]) -> tuple[float, float]:
    """(precision, recall) over all categories given."""
    texts = [text for text, _, _ in examples]
    found = categories.assign(texts, embed_texts(texts), categories.read(categories.DEFAULT))
    right = wrong = missed = 0
    for (_, must, may), names in zip(examples, found, strict=True):
        right += len(must & set(names))
        wrong += len(set(names) - must - may)
        missed += len(must - set(names))
    return right / (right + wrong), right / (right + missed)


@pytest.mark.parametrize("examples", [DEVELOPMENT, HELD_OUT], ids=["development", "held out"])
def test_it_sorts_facts_as_a_reader_would(profile: None, examples: list[Example]) -> None:
    precision, recall = measure(examples)
    assert precision >= 0.95 and recall >= 0.7


def test_it_gives_facts_categories_and_turns_none(client: ApiClient) -> None:
    say(client, "I am allergic to walnuts.", "I work as a baker.")
    found = of_facts()
    assert "health" in next(names for text, names in found.items() if "walnut" in text)
    assert "professional_details" in next(names for text, names in found.items() if "baker" in text)
    assert all(memory.categories == [] for memory in Memory.objects.filter(kind="episodic"))
    listed = client.post("/v3/memories/", {"filters": {"AND": [ANN, {"categories": {"in": ["health"]}}]}}).json
    assert ["walnut" in memory["memory"] for memory in listed["results"]] == [True]


def test_it_embeds_no_more_than_the_memories_themselves(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    say(client, "I live in Oslo.")  # the categories are embedded by now
    asked: list[list[str]] = []

    def counting(texts: Any) -> Any:
        asked.append(list(texts))
        return embed_texts(texts)

    monkeypatch.setattr(ingest, "embed_texts", counting)
    monkeypatch.setattr(categories, "embed_texts", counting)
    say(client, "I am allergic to walnuts.")
    assert len(asked) == 1 and all("walnut" in text for text in asked[0])


def test_it_takes_the_projects_own_list_and_the_calls_before_it(client: ApiClient, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(custom_categories=OWN)
    say(client, "My dog is called Bruno.", "I work as a baker.")
    names = {name for found in of_facts().values() for name in found}
    assert names == {"pets"}
    say(client, "I am allergic to walnuts.", custom_categories=[{"safety": "allergies and other dangers to health"}])
    assert next(found for text, found in of_facts().items() if "walnut" in text) == ["safety"]


def test_it_shows_the_model_the_default_list_and_believes_it(client: ApiClient, scripted: Start) -> None:
    fact = {"text": "Ann lives in Oslo", "message": 1, "quote": "live in Oslo", "kind": "semantic"}
    server = scripted([{"facts": [fact | {"categories": ["travel", "nonsense"]}]}])
    say(client, "I live in Oslo.")
    assert "user_preferences" in prompt_of(server.requests[0])
    assert of_facts() == {"Ann lives in Oslo": ["travel"]}


# When the list changes


def test_it_sorts_again_when_the_list_changes(client: ApiClient, project: Project, worker: Any) -> None:
    say(client, "My dog is called Bruno.", "I am allergic to walnuts.", "I take the train to work.")
    Memory.objects.filter(text__contains="walnut").update(categories=["health", "imported"])
    tasks.follow_categories()
    assert not Event.objects.filter(type="CATEGORIZE").exists()
    Project.objects.filter(pk=project.pk).update(custom_categories=OWN)
    texts = set(of_facts())
    tasks.follow_categories()
    event = Event.objects.get(type="CATEGORIZE")
    assert event.status == "SUCCEEDED" and event.results[0]["categorized"] > 0
    found = of_facts()
    assert set(found) == texts
    assert next(names for text, names in found.items() if "dog" in text or "Bruno" in text) == ["pets"]
    assert next(names for text, names in found.items() if "walnut" in text) == ["imported"]  # not ours to take away
    changed = Memory.objects.get(text__contains="walnut", kind="semantic")
    step = client.get(f"/v1/memories/{changed.public_id}/history/").json[-1]
    assert (step["event"], step["categories"], step["policy"]) == ("CATEGORIZE", ["imported"], "categories")
    assert step["old_memory"] == step["new_memory"] == changed.text
    num_steps = MemoryRevision.objects.filter(operation="CATEGORIZE").count()
    tasks.follow_categories()  # nothing has changed since
    assert Event.objects.filter(type="CATEGORIZE").count() == 1
    assert categories.recategorise(Project.objects.get(pk=project.pk), event=event) == 0
    assert MemoryRevision.objects.filter(operation="CATEGORIZE").count() == num_steps
    Project.objects.filter(pk=project.pk).update(custom_categories=[])
    tasks.follow_categories()
    assert "health" in next(names for text, names in of_facts().items() if "walnut" in text)


def test_it_starts_no_second_event_while_one_is_under_way(project: Project, worker: Any) -> None:
    worker.paused = True
    Project.objects.filter(pk=project.pk).update(custom_categories=OWN)
    tasks.follow_categories()
    tasks.follow_categories()
    assert Event.objects.filter(type="CATEGORIZE").count() == 1
    worker.resume()
    assert LifecycleSettings.objects.get(project=project).categories == OWN


def test_it_leaves_other_projects_alone(client: ApiClient, stranger: ApiClient, project: Project) -> None:
    say(client, "My dog is called Bruno.")
    said = [{"role": "user", "content": "My dog is called Bruno.", "name": "Ann"}]
    finished(stranger.post("/v3/memories/add/", {"messages": said, **ANN}).json["event_id"])
    theirs = Memory.objects.exclude(project=project)
    before = list(theirs.values_list("categories", flat=True))
    Project.objects.filter(pk=project.pk).update(custom_categories=OWN)
    tasks.follow_categories()
    assert list(theirs.values_list("categories", flat=True)) == before
    assert Event.objects.filter(type="CATEGORIZE").values_list("project", flat=True).get() == project.pk
