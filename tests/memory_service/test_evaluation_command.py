"""`manage.py evaluate` on a real database, from ingesting to comparing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from memory_service import retrieval
from memory_service.errors import Conflict
from memory_service.evaluation import datasets, jobs, runner
from memory_service.evaluation.asking import OverHTTP
from memory_service.management.commands import evaluate
from memory_service.models import (
    Answer,
    CompletionUsage,
    EvaluationCorpus,
    EvaluationRun,
    EvaluationScore,
    Memory,
    Project,
    Scope,
)
from tests.conftest import ApiClient
from tests.llm import Start, scripted
from tests.memory_service.test_evaluation_datasets import (
    BEAM_CHAT,
    BEAM_QUESTIONS,
    LOCOMO,
    LONGMEMEVAL,
    QA,
    save,
    save_lines,
)
from tests.scripted_llm import Status
from tests.serving import Service

__all__ = ["scripted"]

ROOT = Path(__file__).resolve().parents[2]

TWO_TALKS = [LOCOMO[0], LOCOMO[0] | {"sample_id": "talk-2"}]


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' Redis has no worker; the second that asking takes is spared."""
    monkeypatch.setattr(evaluate, "find_worker", lambda: None)


@pytest.fixture
def owner(project: Project) -> Project:
    return project


@pytest.fixture
def locomo(tmp_path: Path) -> Path:
    return save(tmp_path / "talks.json", TWO_TALKS)


def run(*args: Any) -> tuple[str, EvaluationRun | None]:
    """What is printed, and the newest run."""
    out = StringIO()
    call_command("evaluate", *map(str, args), stdout=out, stderr=StringIO())
    return out.getvalue(), EvaluationRun.objects.order_by("-id").first()


def measure(*args: Any) -> EvaluationRun:
    _, found = run(*args, "--project", "Relocation")
    assert found is not None
    assert found.status == "SUCCEEDED", found.error
    return found


@pytest.mark.django_db
def test_it_measures_a_file_and_leaves_nothing_but_the_figures(owner: Project, locomo: Path, tmp_path: Path) -> None:
    out, found = run("locomo", locomo, "--project", "Relocation", "--json", tmp_path / "out.json")
    assert found is not None
    assert found.project == owner
    assert (found.num_done, found.num_steps) == (6, 6)
    assert set(found.summary["metrics"]) == {"all", "1", "2", "4"}
    assert (
        out.index("| category 1 |") < out.index("| category 2 |") < out.index("| category 4 |") < out.index("| all |")
    )
    whole = found.summary["metrics"]["all"]
    # Five short turns each: the first hits hold everything.
    assert whole["recall@20"]["mean"] == 1
    assert whole["recall@10"]["n"] == 6
    assert 0 < whole["mrr"]["mean"] <= 1
    assert "| category 4 | 2 |" in out
    assert "6 questions in 2 conversations" in out
    assert not Scope.objects.exclude(project=owner).exists()
    assert not Memory.objects.exists()
    assert not EvaluationCorpus.objects.exists()
    written = json.loads((tmp_path / "out.json").read_text())
    assert len(written["questions"]) == 6
    assert written["summary"] == found.summary


@pytest.mark.django_db
def test_its_figures_are_those_of_the_ranks_it_stored(owner: Project, locomo: Path) -> None:
    found = measure("locomo", locomo)
    for score in EvaluationScore.objects.filter(run=found):
        for k in (5, 10, 20, 50):
            within = [rank is not None and rank <= k for rank in score.ranks.values()]
            assert score.metrics[f"recall@{k}"] == pytest.approx(sum(within) / len(within))
        ranks = [rank for rank in score.ranks.values() if rank is not None]
        assert score.metrics["mrr"] == pytest.approx(1 / min(ranks))
    mean = sum(s.metrics["mrr"] for s in found.scores.all()) / found.scores.count()
    assert found.summary["metrics"]["all"]["mrr"]["mean"] == pytest.approx(mean, abs=1e-4)


@pytest.mark.django_db
def test_it_measures_sessions_too_and_leaves_abstention_out(owner: Project, tmp_path: Path) -> None:
    found = measure("longmemeval", save(tmp_path / "f.json", LONGMEMEVAL))
    whole = found.summary["metrics"]["all"]
    assert whole["recall@5"] == {"mean": 1.0, "low": 0.0, "high": 1.0, "n": 1}
    assert whole["session_any@5"]["mean"] == 1
    assert found.num_done == 2
    abstention = found.scores.get(question_id="q2_abs")
    assert abstention.metrics == {}
    assert abstention.num_hits > 0


@pytest.mark.django_db
def test_it_measures_beam_and_lines_of_ones_own(owner: Project, tmp_path: Path) -> None:
    row = {"conversation_id": "1", "chat": BEAM_CHAT, "probing_questions": BEAM_QUESTIONS}
    beam = measure("beam", save(tmp_path / "f.json", row))
    assert beam.summary["metrics"]["knowledge_update"]["all@5"]["mean"] == 1
    own = measure("qa-jsonl", save_lines(tmp_path / "f.jsonl", [QA[0], QA[2], QA[3], QA[1], QA[4]]))
    assert own.summary["metrics"]["people"]["recall@5"]["mean"] == 1
    assert own.scores.get(question_id="own").ranks == {"m1": 1}


@pytest.mark.django_db
def test_it_ingests_once_where_that_is_asked_for(owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure("locomo", locomo, "--reuse")
    corpus = EvaluationCorpus.objects.get()
    assert corpus.ingested_at is not None
    monkeypatch.setattr("memory_service.evaluation.asking.ingest_conversation", None)  # would fail if called
    second = measure("locomo", locomo, "--reuse")
    assert EvaluationCorpus.objects.get() == corpus
    ranks = [{s.question_id: s.ranks for s in one.scores.all()} for one in (first, second)]
    assert ranks[0] == ranks[1]
    out, _ = run("clean")
    assert "Removed 1 scratch projects" in out
    assert list(Project.objects.all()) == [owner]


@pytest.mark.django_db
def test_it_shuffles_what_is_ingested_for_each_further_seed(owner: Project, locomo: Path) -> None:
    found = measure("locomo", locomo, "--seeds", 2)
    assert found.scores.count() == 12
    assert "mrr" in found.summary["spread_over_seeds"]
    assert found.summary["num_questions"] == 6


@pytest.mark.django_db
def test_it_tells_what_a_stage_is_worth(owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = retrieval.search

    def without_the_best(project: Project, request: retrieval.SearchRequest) -> list[retrieval.Hit]:
        found = search(project, replace(request, without=frozenset()))
        return found[1:] if "best" in request.without else found

    named = {"best": frozenset[str](), "none": frozenset[str]()}
    monkeypatch.setattr(retrieval, "STAGES", retrieval.STAGES | named)
    monkeypatch.setattr(retrieval, "search", without_the_best)
    out, found = run("locomo", locomo, "--project", "Relocation", "--ablate", "best,none")
    assert found is not None
    lost = found.summary["ablation"]["best"]["all"]["mrr"]
    assert lost["mean"] < 0
    assert lost["high"] <= 0
    assert found.summary["ablation"]["none"]["all"]["mrr"]["mean"] == 0
    assert "| without best | -" in out
    with pytest.raises(CommandError, match=r"worst: no stage of retrieval; there are .*, best, none"):
        run("locomo", locomo, "--project", "Relocation", "--ablate", "worst")


@pytest.mark.django_db
def test_it_compares_runs_and_files(owner: Project, locomo: Path, tmp_path: Path) -> None:
    whole = measure("locomo", locomo, "--json", tmp_path / "a.json")
    out, few = run("locomo", locomo, "--project", "Relocation", "--option", "top_k=1", "--baseline", whole.public_id)
    assert few is not None
    assert "6 questions in both" in out
    out, _ = run("compare", tmp_path / "a.json", str(few.public_id)[:13], "--json", tmp_path / "c.json")
    found = json.loads((tmp_path / "c.json").read_text())["metrics"]["all"]["recall@10"]
    expected = few.summary["metrics"]["all"]["recall@10"]["mean"] - whole.summary["metrics"]["all"]["recall@10"]["mean"]
    assert found["mean"] == pytest.approx(expected, abs=2e-4)
    assert "| recall@10 | -" in out
    listed, _ = run("list")
    assert str(few.public_id) in listed
    shown, _ = run("show", few.public_id)
    assert "category 4" in shown
    with pytest.raises(CommandError, match=r"(several runs begin|no run begins) with"):
        run("compare", "0000", few.public_id)
    with pytest.raises(CommandError, match="is no run's id and no file"):
        run("compare", "%", few.public_id)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(CommandError, match="was not written by --json"):
        run("compare", tmp_path / "bad.json", few.public_id)


@pytest.mark.django_db
def test_it_fails_below_a_gate(owner: Project, locomo: Path) -> None:
    measure("locomo", locomo, "--fail-under", "recall@20=1", "--fail-under", "recall@20:4=0.9")
    with pytest.raises(
        CommandError, match=r"recall@10 is 0\.\d+, below 0\.99; recall@10 of category 9 was not"
    ) as info:
        run(
            *("locomo", locomo, "--project", "Relocation", "--option", "top_k=1"),
            *("--fail-under", "recall@10=0.99", "--fail-under", "recall@10:9=0.1"),
        )
    assert info.value.returncode == 1
    with pytest.raises(CommandError, match="must be METRIC=VALUE"):
        run("locomo", locomo, "--fail-under", "recall")


@pytest.mark.django_db
def test_it_goes_on_where_it_was_interrupted(owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = runner.InProcess.ask
    asked: list[str] = []

    def interrupted(self: Any, conversation: Any, question: Any, *, without: str = "") -> Any:
        asked.append(question.id)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(self, conversation, question, without=without)

    monkeypatch.setattr(runner, "SCORES_A_WRITE", 1)
    monkeypatch.setattr(runner.InProcess, "ask", interrupted)
    with pytest.raises(CommandError, match="interrupted; go on with --resume"):
        measure("locomo", locomo)
    found = EvaluationRun.objects.get()
    assert found.num_done == 2
    measure("locomo", locomo, "--resume", found.public_id)
    assert len(asked) == 7  # the third was asked twice
    assert EvaluationRun.objects.get().summary["num_questions"] == 6
    with pytest.raises(CommandError, match="was made over other data"):
        run("locomo", locomo, "--conversations", "talk-1", "--project", "Relocation", "--resume", found.public_id)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--option", "top_k=0"], "top_k=0 is out of range"),
        (["--option", "top_k=many"], "top_k='many' is refused"),
        (["--option", "threshold=2"], "threshold=2.* is out of range"),
        (["--option", "nonsense=1"], "'nonsense' is no option of a search; there are .*top_k"),
        (["--option", "query=x"], "'query' is no option"),
        (["--option", "top_k"], "must be NAME=VALUE"),
        (["--seeds", "0"], "seeds=0 is out of range"),
        (["--judge"], "a judge needs a language model"),
        (["--conversations", "x"], "there is no conversation x"),
        (["--limit-questions", "0"], "must be at least 1"),
        (["--host", "http://127.0.0.1:1"], "--host and --api-key belong together"),
        (["--project", "nobody"], "--project="),
    ],
)
def test_it_refuses_what_cannot_be_done(owner: Project, locomo: Path, args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("locomo", locomo, "--project", "Relocation", *args)
    assert not EvaluationRun.objects.exists()


@pytest.mark.django_db
def test_it_says_which_file_is_missing(owner: Project, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.json: No such file"):
        run("locomo", tmp_path / "nothing.json")


@pytest.mark.django_db
def test_it_keeps_the_reason_of_a_failure(owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(retrieval, "search", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        run("locomo", locomo, "--project", "Relocation")
    found = EvaluationRun.objects.get()
    assert (found.status, found.error) == ("FAILED", "the disk is on fire")


@pytest.mark.django_db(transaction=True)
def test_it_has_answers_judged(owner: Project, tmp_path: Path, scripted: Start) -> None:
    def reply(asked: dict[str, Any]) -> Any:
        told = asked["messages"][-1]["content"]
        if "## GOLD" not in told:
            assert "## EVIDENCE" in told and "[1] (" in told  # what a user's question would show
            return "Anna, in Bergen [1]." if "boat" in told.split("## QUESTION")[1] else "I do not know."
        assert "## EVIDENCE" not in told  # the judge sees question, gold and answer only
        return {"reason": "", "correct": "Anna" in told.split("## ANSWER")[1]}

    server = scripted(reply)
    found = measure(
        "qa-jsonl",
        save_lines(tmp_path / "f.jsonl", [QA[0], QA[2], QA[3] | {"answer": "on the last day"}]),
        *("--judge", 2),
    )
    accuracy = found.summary["metrics"]["all"]["accuracy"]
    assert (accuracy["mean"], accuracy["n"]) == (0.5, 2)
    assert found.scores.get(question_id="line 2").answer == "Anna, in Bergen [1]."
    assert len(server.requests) == 6
    for purpose, num_calls in (("evaluation_judge", 4), ("evaluation_answer", 2)):
        assert CompletionUsage.objects.filter(project=owner, purpose=purpose).count() == num_calls
    assert not Answer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_model_that_fails_is_no_wrong_answer(owner: Project, tmp_path: Path, scripted: Start) -> None:
    scripted({"text": [Status(400)]})
    with pytest.raises(CommandError, match="scripted"):
        run("qa-jsonl", save_lines(tmp_path / "f.jsonl", QA), "--project", "Relocation", "--judge")
    assert not EvaluationScore.objects.filter(metrics__has_key="accuracy").exists()


@pytest.mark.django_db
def test_it_searches_for_other_wordings_on_the_owners_account(owner: Project, tmp_path: Path, scripted: Start) -> None:
    file = save_lines(tmp_path / "f.jsonl", QA)
    with pytest.raises(CommandError, match="expand=llm needs a language model"):
        run("qa-jsonl", file, "--project", "Relocation", "--option", "expand=llm")
    scripted({"Expanded": [{"rewrites": ["a small vessel"], "hypothetical": []}]})
    found = measure("qa-jsonl", file, "--option", "expand=llm")
    usage = CompletionUsage.objects.filter(project=owner, purpose="expansion")
    assert usage.count() == found.summary["num_questions"] > 0


def test_over_http_it_has_the_answers_of_the_service(
    client: ApiClient, api_key: str, tmp_path: Path, scripted: Start
) -> None:
    dataset = datasets.read_dataset("qa-jsonl", save_lines(tmp_path / "f.jsonl", QA))
    [conversation] = [one for one in dataset.conversations if one.questions][:1]
    api = OverHTTP("http://testserver", api_key, {"top_k": 900}, prefix="p")

    def forward(request: httpx.Request) -> httpx.Response:
        answer = client.call(request.method, request.url.path, raw=request.content)
        return httpx.Response(answer.status, json=answer.json)

    api._api = httpx.Client(transport=httpx.MockTransport(forward), base_url="http://testserver")
    api.ingest(conversation)
    with_model = scripted(["Anna [1]."])
    assert api.answer(conversation, conversation.questions[0]) == "Anna [1]."
    assert len(with_model.requests) == 1 and not Answer.objects.exists()


@pytest.mark.django_db
def test_it_removes_the_scratch_projects_that_nobody_keeps(
    owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure("locomo", locomo, "--reuse")
    kept = EvaluationCorpus.objects.get()
    monkeypatch.setattr(jobs, "ORPHANED", jobs.ORPHANED * 0)
    assert jobs.drop_orphans() == 0
    EvaluationCorpus.objects.filter(pk=kept.pk).update(kept=False)
    assert jobs.drop_orphans() == 1
    assert list(Project.objects.all()) == [owner]


@pytest.mark.django_db
def test_it_leaves_a_scratch_project_that_a_worker_is_at_for_later(
    owner: Project, locomo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(corpus: EvaluationCorpus) -> None:
        raise Conflict("a worker is busy with it")

    monkeypatch.setattr(runner, "drop_corpus", busy)
    assert measure("locomo", locomo).summary["num_questions"] == 6
    assert EvaluationCorpus.objects.count() == 1


@pytest.mark.slow
def test_it_measures_a_service_over_http(service: Service, tmp_path: Path, locomo: Path) -> None:
    """With the database that the service runs on, found by its DATA_DIR."""
    command = ["evaluate", "locomo", str(locomo), "--project", service.project_id]
    asked = [*command, "--host", service.url, "--api-key", service.api_key]
    done = _manage(service.data_dir, *asked, "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    questions = json.loads((tmp_path / "out.json").read_text())["questions"]
    assert len(questions) == 6
    assert all(question["metrics"]["recall@20"] == 1 for question in questions)
    again = _manage(service.data_dir, *command, "--baseline", str(tmp_path / "out.json"))
    assert again.returncode == 0, again.stderr  # in process, ingested by the service's own worker
    assert "| recall@10 | +0.000" in again.stdout


@pytest.mark.slow
def test_it_starts_the_embedded_database_for_itself(tmp_path: Path, locomo: Path) -> None:
    done = _manage(tmp_path / "data", "evaluate", "locomo", str(locomo), "--limit-questions", "1")
    assert done.returncode == 0, done.stderr
    listed = _manage(tmp_path / "data", "evaluate", "list")
    assert "talks.json  SUCCEEDED" in listed.stdout


def _manage(data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(data_dir), "LOG_LEVEL": "ERROR"}
    return subprocess.run(
        [sys.executable, "manage.py", *args], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
