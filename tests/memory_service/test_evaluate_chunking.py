"""`manage.py evaluate chunking` on a small corpus that is made on the spot, with the embedded model."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from chunking import strategies
from chunking.sentences import sentence_spans
from chunking.strategies import Strategy
from chunking.tokens import tokenized
from chunking.types import Chunk
from memory_service.errors import InvalidInput
from memory_service.evaluation import chunk_report
from memory_service.evaluation.chunk_index import TOKENIZERS, CachedEmbedder, ChunkIndex, Placed, fuse, tokenize_by
from memory_service.evaluation.chunk_sets import read_chunk_set
from memory_service.models import EvaluationRun, EvaluationScore, Project
from tests.conftest import ApiClient

HARBOUR = (
    "The harbour of Bergen was built in the eleventh century. Ships brought dried cod from the north.\n\n"
    "The German merchants lived on the wharf. They were not allowed to marry.\n\n"
    "A fire burned the wooden houses down in 1702. They were built again on the old ground.\n"
)
BAKERY = (
    "Rye bread needs a sour dough. It rises for twelve hours in a warm room.\n\n"
    "The oven must be hot. Bake the loaf for fifty minutes, and let it cool before cutting.\n\n"
    "Salt slows the yeast down. Two spoons are enough for a kilogram of flour.\n"
)
QUESTIONS = [
    ("What burned down in 1702?", "harbour", HARBOUR, ["A fire burned the wooden houses down in 1702."]),
    ("Where did the German merchants live?", "harbour", HARBOUR, ["The German merchants lived on the wharf."]),
    ("How long does rye bread rise?", "bakery", BAKERY, ["It rises for twelve hours in a warm room."]),
    (
        "What do the oven and the salt do for bread?",
        "bakery",
        BAKERY,
        ["The oven must be hot.", "Salt slows the yeast down."],
    ),
]


def split_sentences(text: str, *, tokenize: Any = None, per_chunk: int = 1, overlap: int = 0) -> list[Chunk]:
    if per_chunk < 1:
        raise ValueError(f"per_chunk={per_chunk} must be at least 1")
    spans = sentence_spans(text)
    groups = [spans[max(0, i - overlap) : i + per_chunk] for i in range(0, len(spans), per_chunk)]
    return tokenized(text, tokenize).chunks([(group[0][0], group[-1][1]) for group in groups])


def split_whole(text: str, *, tokenize: Any = None) -> list[Chunk]:
    return tokenized(text, tokenize).chunks([(0, len(text))])


def split_by_model(text: str, *, complete: Any, tokenize: Any = None) -> list[Chunk]:
    return split_whole(text, tokenize=tokenize)


class Table(Strategy):
    """A strategy whose function is in this file."""

    def load(self) -> Any:
        return globals()[self.function]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = {
        "each": Table("each", "split_sentences", "some sentences a chunk"),
        "whole": Table("whole", "split_whole", "the document"),
        "model": Table("model", "split_by_model", "asks a model", needs=("complete",)),
    }
    for name in list(strategies.STRATEGIES):
        monkeypatch.delitem(strategies.STRATEGIES, name)
    for name, one in known.items():
        monkeypatch.setitem(strategies.STRATEGIES, name, one)
    yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "two-documents"
    made.mkdir()
    (made / "harbour.md").write_bytes(HARBOUR.encode())
    (made / "bakery.txt").write_bytes(BAKERY.encode())
    rows = [
        {"question": q, "references": json.dumps([reference(t, one) for one in found]), "corpus_id": name}
        for q, name, t, found in QUESTIONS
    ]
    write_questions(made, rows)
    return made


def reference(text: str, content: str) -> dict[str, Any]:
    start = text.index(content)
    return {"content": content, "start_index": start, "end_index": start + len(content)}


def write_questions(folder: Path, rows: list[dict[str, Any]]) -> None:
    with (folder / "questions_df.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, ["question", "references", "corpus_id"])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def owner(project: Project) -> Project:
    return project


def run(folder: Path, *args: Any) -> tuple[str, list[EvaluationRun]]:
    """What is printed, and the runs that it made; with the texts' own vectors unless `args` ask for others."""
    if "--enrich" not in args:
        args = (*args, "--enrich", "none")
    out, before = StringIO(), set(EvaluationRun.objects.values_list("pk", flat=True))
    call_command(
        "evaluate", "chunking", str(folder), "--project", "Relocation", *map(str, args), stdout=out, stderr=StringIO()
    )
    return out.getvalue(), list(EvaluationRun.objects.exclude(pk__in=before).order_by("pk"))


def means(found: EvaluationRun, group: str = "all") -> dict[str, float]:
    return {name: one["mean"] for name, one in found.summary["metrics"][group].items()}


@pytest.mark.django_db
def test_it_measures_every_strategy_and_stores_a_run_for_each(owner: Project, folder: Path) -> None:
    out, [each, whole] = run(folder, "--retrieve", 2)
    assert each.kind == whole.kind == "chunking"
    assert each.status == "SUCCEEDED"
    assert each.source == "two-documents"
    assert "2 documents" in out and "4 questions" in out
    assert "left out: model: strategy='model' needs complete" in out
    # The whole documents: recall 1, and both are retrieved, so precision is the references' share of both.
    figures = means(whole)
    sizes = [sum(len(one) for one in found) for *_, found in QUESTIONS]
    assert figures["recall"] == 1
    both = len(HARBOUR) + len(BAKERY)
    assert figures["precision"] == figures["iou"] == pytest.approx(sum(sizes) / len(sizes) / both, abs=1e-6)
    omega = [size / len(text) for size, (_, _, text, _) in zip(sizes, QUESTIONS, strict=True)]
    assert figures["precision_omega"] == pytest.approx(sum(omega) / 4, abs=1e-6)
    assert means(each)["precision_omega"] > 0.9  # a sentence a chunk: but for the white space the references themselves
    assert whole.summary["chunking"]["num_chunks"] == 2
    assert whole.summary["chunking"]["mean_chars"] == both / 2
    assert f"| whole | 2 | {whole.summary['chunking']['mean_tokens']:.0f} |" in out


@pytest.mark.django_db
def test_its_figures_are_those_of_the_chunks_that_a_question_retrieves(owner: Project, folder: Path) -> None:
    _, [found] = run(folder, "--strategies", "each", "--retrieve", 1)
    scores = {score.question: score for score in EvaluationScore.objects.filter(run=found)}
    fire = scores["What burned down in 1702?"]
    sentence = QUESTIONS[0][3][0]
    assert fire.metrics["recall"] == 1
    assert fire.metrics["precision"] == pytest.approx(len(sentence) / (len(sentence) + 1))  # and the space after it
    start = HARBOUR.index(sentence)
    assert fire.ranks == {f"{start}-{start + len(sentence)}": 1}
    assert fire.category == "harbour"
    two = scores["What do the oven and the salt do for bread?"]
    assert sorted(str(rank) for rank in two.ranks.values()) == ["1", "None"]
    assert 0 < two.metrics["recall"] < 1


@pytest.mark.django_db
def test_it_retrieves_as_many_chunks_as_overlap_where_it_is_asked_to(owner: Project, folder: Path) -> None:
    _, [found] = run(folder, "--strategies", "each", "--retrieve", -1)
    assert sorted(found.scores.values_list("num_hits", flat=True)) == [1, 1, 1, 2]


@pytest.mark.django_db
@pytest.mark.parametrize("retrieval", ["lexical", "hybrid"])
def test_it_retrieves_by_words_and_by_both(owner: Project, folder: Path, retrieval: str) -> None:
    _, [found] = run(folder, "--strategies", "each", "--retrieve", 1, "--retrieval", retrieval)
    merchants = found.scores.get(question="Where did the German merchants live?")
    assert merchants.metrics["recall"] == 1
    assert found.plan["retrieval"] == retrieval


@pytest.mark.django_db
def test_it_tells_intervals_over_questions_and_a_table_by_document(owner: Project, folder: Path) -> None:
    out, [found] = run(folder, "--strategies", "each:per_chunk=2", "--by-corpus")
    whole = found.summary["metrics"]["all"]["recall"]
    assert whole["n"] == 4
    assert whole["low"] <= whole["mean"] <= whole["high"]
    assert means(found, "harbour").keys() == {"recall", "precision", "iou", "precision_omega"}
    assert "| bakery | 2 | each per_chunk=2 |" in out
    again, _ = run_action("show", found.public_id)
    assert "| each per_chunk=2 |" in again and "| harbour | 2 |" in again


def run_action(*args: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("evaluate", *map(str, args), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.django_db
def test_two_strategies_are_compared_question_by_question(owner: Project, folder: Path, tmp_path: Path) -> None:
    _, [each, whole] = run(folder, "--strategies", "each,whole", "--retrieve", 1)
    out, _ = run_action("compare", each.public_id, whole.public_id)
    assert "4 questions in both" in out
    assert "| precision_omega | -" in out
    run(folder, "--strategies", "whole", "--retrieve", 1, "--json", tmp_path / "whole.json")
    out, _ = run_action("compare", whole.public_id, tmp_path / "whole.json")
    assert "| recall | +0.000 (+0.000 to +0.000" in out
    listed, _ = run_action("list")
    assert "recall 1.000, iou" in listed


@pytest.mark.django_db
def test_its_runs_are_read_through_the_api(owner: Project, folder: Path, client: ApiClient) -> None:
    _, [found] = run(folder, "--strategies", "each")
    answer = client.get(f"/v1/evaluations/{found.public_id}/")
    assert answer.status == 200
    assert answer.json["kind"] == "chunking"
    assert answer.json["summary"]["chunking"]["label"] == "each"
    questions = client.get(f"/v1/evaluations/{found.public_id}/questions/?missed=5")
    assert questions.status == 200


@pytest.mark.django_db
def test_it_writes_several_runs_and_a_picture(owner: Project, folder: Path, tmp_path: Path) -> None:
    run(folder, "--strategies", "each,whole", "--json", tmp_path / "runs.json", "--plot", tmp_path / "runs.svg")
    written = json.loads((tmp_path / "runs.json").read_text())
    assert [one["run"]["plan"]["strategy"] for one in written] == ["each", "whole"]
    assert len(written[0]["questions"]) == 4
    assert (tmp_path / "runs.svg").read_text().lstrip().startswith("<?xml")
    run(folder, "--strategies", "each", "--plot", tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.django_db
def test_it_tells_chunk_score_where_it_is_asked_to(owner: Project, folder: Path) -> None:
    out, [each, whole] = run(folder, "--strategies", "each,whole", "--chunk-score")
    assert "| ChunkScore (LI, SD) |" in out
    told = each.summary["chunking"]["chunk_score"]
    assert told["losses"] == "n-gram"
    assert set(told["by_corpus"]) == {"harbour", "bakery"}
    for term in ("score", "dispersion"):
        terms = [one[term] for one in told["by_corpus"].values()]
        assert min(terms) <= told[term] <= max(terms)
    assert whole.summary["chunking"]["chunk_score"]["independence"] is None  # a single chunk has no neighbour
    assert "(-, " in out


@pytest.mark.django_db
def test_it_keeps_vectors_in_a_file_and_does_not_make_them_again(
    owner: Project, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "vectors.npz"
    _, [first] = run(folder, "--strategies", "each", "--cache", cache)

    def refuse(texts: Any) -> Any:
        raise AssertionError(f"{len(texts)} texts were embedded again")

    monkeypatch.setattr("memory_service.evaluation.chunk_index.embed_texts", refuse)
    monkeypatch.setattr(CachedEmbedder.__init__, "__kwdefaults__", {"embed": refuse})
    _, [again] = run(folder, "--strategies", "each", "--cache", cache)
    assert means(again) == means(first)


@pytest.mark.django_db
def test_options_go_to_the_strategies_that_have_them(owner: Project, folder: Path) -> None:
    _, runs = run(folder, "--strategies", "each,each:per_chunk=2,whole", "--options", "per_chunk=3", "overlap=1")
    assert [found.plan["options"] for found in runs] == [
        {"per_chunk": 3, "overlap": 1},
        {"per_chunk": 2, "overlap": 1},
        {},
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--strategies", "magic"], "strategy='magic' is not known: one of each, model, whole"),
        (["--strategies", "each:per_chunk=0"], "each per_chunk=0: per_chunk=0 must be at least 1"),
        (["--strategies", "each:size=3"], "got an unexpected keyword argument 'size'"),
        (["--strategies", "each:size"], "option 'size' must be NAME=VALUE"),
        (["--strategies", ","], "no strategy"),
        (["--strategies", "model"], "needs complete"),
        (["--options", "colour=red"], "--options colour: none of each, model, whole has that option"),
        (["--retrieve", "0"], "retrieve=0 is out of range"),
        (["--limit-questions", "0"], "--limit-questions=0 must be at least 1"),
        (["--corpora", "harbour,sea"], "there is no document sea; there are bakery, harbour"),
        (["--cache", "/no/such/folder/a.npz"], "is no folder"),
        (["--plot", "picture.txt"], "must end with one of .png, .svg, .pdf"),
        (["--plot", "/no/such/folder/a.png"], "is no folder"),
    ],
)
def test_it_rejects_what_cannot_be_done(owner: Project, folder: Path, args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=re.escape(message)):
        run(folder, *args)
    assert not EvaluationRun.objects.exists()


# The folder


def test_it_reads_documents_and_questions(folder: Path) -> None:
    found = read_chunk_set(folder)
    assert found.corpora == {"bakery": BAKERY, "harbour": HARBOUR}
    assert [one.id for one in found.questions] == ["harbour/1", "harbour/2", "bakery/3", "bakery/4"]
    assert len(found.questions[3].references) == 2
    assert found.notes == ()


def test_it_says_which_document_nobody_asks_about(folder: Path) -> None:
    (folder / "notes.txt").write_text("Nobody asks about this.")
    assert read_chunk_set(folder).notes == ("notes has no question; it is in the index all the same",)


GOOD = reference(HARBOUR, "They were not allowed to marry.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"corpus_id": "sea"}, "row 1: corpus_id='sea' names no document; there are bakery, harbour"),
        ({"question": " "}, "row 1: question is empty"),
        ({"references": "[{"}, "row 1: references is not JSON"),
        ({"references": "[]"}, "references must be a list with at least one reference"),
        ({"references": "[3]"}, r"references\[0\] must be an object, not int"),
        ({"references": [GOOD | {"start_index": "4"}]}, "start_index='4' and end_index=.* must be whole numbers"),
        ({"references": [GOOD | {"start_index": True}]}, "must be whole numbers"),
        ({"references": [GOOD | {"end_index": 99_999}]}, "is no span of harbour, which has"),
        ({"references": [GOOD | {"end_index": GOOD["start_index"]}]}, "is no span of harbour"),
        (
            {"references": [GOOD, GOOD | {"content": "They might marry."}]},
            r"references\[1\]: content='They might marry.' is not what stands at",
        ),
    ],
)
def test_it_rejects_a_question_whose_references_are_not_in_the_text(
    folder: Path, row: dict[str, Any], message: str
) -> None:
    whole = {"question": "Did they marry?", "references": [GOOD], "corpus_id": "harbour"} | row
    if not isinstance(whole["references"], str):
        whole["references"] = json.dumps(whole["references"])
    write_questions(folder, [whole])
    with pytest.raises(InvalidInput, match=message):
        read_chunk_set(folder)


def test_it_rejects_a_folder_that_is_no_set(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no folder"):
        read_chunk_set(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="has no document"):
        read_chunk_set(tmp_path / "empty")
    (tmp_path / "empty" / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"a\.md is not UTF-8"):
        read_chunk_set(tmp_path / "empty")
    (folder / "questions_df.csv").write_text("question,corpus_id\nWhy?,harbour\n")
    with pytest.raises(InvalidInput, match="has no column references"):
        read_chunk_set(folder)
    (folder / "questions_df.csv").unlink()
    with pytest.raises(InvalidInput, match=r"has no questions_df\.csv"):
        read_chunk_set(folder)
    (folder / "harbour.txt").write_text("twice")
    with pytest.raises(InvalidInput, match="has the name 'harbour' too"):
        read_chunk_set(folder)


def test_it_counts_carriage_returns(folder: Path) -> None:
    (folder / "harbour.md").write_bytes(HARBOUR.replace("\n", "\r\n").encode())
    with pytest.raises(InvalidInput, match="the file has carriage returns, which count as characters here"):
        read_chunk_set(folder)


# Parts


def test_it_refuses_a_cache_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"

    def embed(texts: Any) -> Any:
        return np.ones((len(texts), 2), dtype=np.float32)

    first = CachedEmbedder(path, model="a", embed=embed)
    first.embed(["one", "two", "one"])
    first.save()
    assert CachedEmbedder(path, model="a").embed(["two"]).shape == (1, 2)
    with pytest.raises(InvalidInput, match="holds vectors of a, not of b"):
        CachedEmbedder(path, model="b")
    path.write_bytes(b"nonsense")
    with pytest.raises(InvalidInput, match="is no cache of vectors"):
        CachedEmbedder(path, model="a")


def test_it_fuses_scores_of_any_scale_with_equal_weights() -> None:
    fused = fuse([np.array([0.9, 0.7, 0.1]), np.array([0.0, 40.0, 10.0])])
    assert fused.tolist() == pytest.approx([0.5, 0.375 + 0.5, 0.125])
    assert fuse([np.array([0.2, 0.4]), np.zeros(2)]).tolist() == pytest.approx([0.0, 0.5])  # no word in common


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_start_where_they_are(name: str) -> None:
    text = "Straße und Café: 日本語 🙂🙂, naïve\r\n\tend"
    starts = tokenize_by(name)(text)
    assert starts[0] == 0
    assert (np.diff(starts) >= 0).all()
    assert starts[-1] < len(text)
    assert text.index("und") in starts or text.index("und") - 1 in starts
    assert len(tokenize_by(name)("")) == 0


def test_it_rejects_a_tokenizer_that_it_does_not_know() -> None:
    with pytest.raises(InvalidInput, match="tokenizer='abacus' is not known"):
        tokenize_by("abacus")


def test_the_table_is_of_the_figures_that_are_stored() -> None:
    interval = {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 4}
    found = EvaluationRun(
        kind="chunking",
        summary={
            "metrics": {"all": dict.fromkeys(chunk_report.METRICS, interval)},
            "chunking": {"label": "a", "num_chunks": 7, "mean_tokens": 12.4, "mean_chars": 60.6, "split_s": 0.123},
        },
    )
    row = chunk_report.strategies_table([found]).splitlines()[-1]
    assert row == "| a | 7 | 12 | 61 | " + " | ".join(["0.500 (0.250 to 0.750)"] * 4) + " | 0.12 |"


@pytest.mark.django_db
def test_it_situates_chunks_unless_told_otherwise(owner: Project, folder: Path) -> None:
    out = StringIO()
    call_command(
        "evaluate", "chunking", str(folder), "--strategies", "each", "--project", "Relocation", stdout=out, stderr=out
    )
    assert "| each + situated |" in out.getvalue()


def test_words_are_searched_around_a_chunk_inside_its_document_only() -> None:
    texts = ["A pear tree.", "It is old.", "Nothing here.", "A pear again."]
    corpora = ["one", "one", "one", "two"]
    placed = [Placed(name, Chunk(text, 0, len(text), 3)) for name, text in zip(corpora, texts, strict=True)]
    vectors = np.eye(4, dtype=np.float32)
    alone = ChunkIndex(placed, vectors, texts).bm25("pear")
    around = ChunkIndex(placed, vectors, texts, around=True).bm25("pear")
    assert alone[1] == 0.0
    assert around[1] > 0.0
    assert around[2] == 0.0
    assert around[0] > around[1]
