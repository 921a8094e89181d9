"""Small files in each format, written by hand after the published ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory_service.errors import InvalidInput
from memory_service.evaluation import datasets
from memory_service.evaluation.datasets import read_dataset

LOCOMO: list[dict[str, Any]] = [
    {
        "sample_id": "talk-1",
        "conversation": {
            "speaker_a": "Mira",
            "speaker_b": "Jon",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Mira", "dia_id": "D1:1", "text": "I adopted a greyhound called Pixel last week."},
                {"speaker": "Jon", "dia_id": "D1:2", "text": "Lovely! I started pottery classes in Lisbon."},
                {
                    "speaker": "Mira",
                    "dia_id": "D1:3",
                    "text": "Look at this.",
                    "blip_caption": "a photo of a kiln full of blue bowls",
                },
            ],
            "session_2_date_time": "9:05 am on 1 June, 2023",
            "session_2": [
                {"speaker": "Jon", "dia_id": "D2:1", "text": "My sister Ada moved to Oslo for a job at a museum."},
                {"speaker": "Mira", "dia_id": "D2:2", "text": "I ran a half marathon in Porto on Sunday."},
            ],
            "session_3_date_time": "10:00 am on 2 June, 2023",
        },
        "qa": [
            {"question": "What is Mira's dog called?", "answer": "Pixel", "evidence": ["D1:1"], "category": 4},
            {
                "question": "Where did Ada move and who runs?",
                "answer": "Oslo; Mira",
                "evidence": ["D2:1; D:2:02", "D9:9"],
                "category": 1,
            },
            {"question": "When did Mira run?", "answer": 2023, "evidence": ["D2:2"], "category": 2},
            {"question": "What is unknown?", "evidence": ["D"], "category": 3},
            {"question": "Who adopted a cat?", "adversarial_answer": "Mira", "evidence": ["D1:1"], "category": 5},
        ],
    }
]

LONGMEMEVAL: list[dict[str, Any]] = [
    {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "Which instrument did I buy?",
        "answer": "A cello",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1", "s2", "s1"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00", "2023/05/22 (Mon) 11:00"],
        "haystack_sessions": [
            [
                {"role": "user", "content": "I bought a cello at the flea market.", "has_answer": True},
                {"role": "assistant", "content": "Congratulations!", "has_answer": False},
            ],
            [{"role": "user", "content": "My train to Ghent was late."}, {"role": "assistant", "content": ""}],
            [{"role": "user", "content": "The garden needs water."}],
        ],
        "answer_session_ids": ["s1"],
    },
    {
        "question_id": "q2_abs",
        "question_type": "single-session-user",
        "question": "What is my cat called?",
        "answer": "You did not mention a cat.",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s9"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21"],
        "haystack_sessions": [[{"role": "user", "content": "My dog is called Rex."}]],
        "answer_session_ids": ["s9"],
    },
]

BEAM_CHAT: list[Any] = [
    {
        "batch_number": 1,
        "turns": [
            [
                {
                    "role": "user",
                    "id": 0,
                    "time_anchor": "March-15-2024",
                    "content": "My first sprint ends on March 29. ->-> 1,1",
                },
                {"role": "assistant", "id": 1, "content": "Noted, the sprint ends on March 29."},
            ],
            [{"role": "user", "id": 2, "content": "The dashboard answers in 300 ms. ->-> 1,2"}],
        ],
    },
    {
        "batch_number": 2,
        "turns": [[{"role": "user", "id": 3, "content": "After caching the dashboard answers in 250 ms."}]],
    },
]
BEAM_QUESTIONS: dict[str, Any] = {
    "abstention": [{"question": "What is my cat called?", "ideal_response": "There is no information."}],
    "information_extraction": [{"question": "When does my sprint end?", "answer": "March 29", "source_chat_ids": [0]}],
    "knowledge_update": [
        {
            "question": "How fast is the dashboard?",
            "answer": "250 ms",
            "source_chat_ids": {"original_info": [2], "updated_info": [3]},
        }
    ],
}

QA = [
    {
        "user_id": "ann",
        "run_id": "r1",
        "timestamp": "2025-03-01T12:00:00Z",
        "messages": [
            {"id": "m1", "role": "user", "content": "My sister Anna bought a small sailing boat in Bergen."},
            {"id": "m2", "role": "assistant", "content": "The quarterly report is due on the last day of the month."},
        ],
    },
    {"scope": {"user_id": "bob"}, "messages": [{"id": "m1", "content": "I collect antique typewriters."}]},
    {"user_id": "ann", "question": "Who bought a boat?", "evidence": ["m1"], "answer": "Anna", "category": "people"},
    {"question": "When is the report due?", "evidence": ["m2"], "category": 2, "reference_date": "2025-03-05"},
    {"user_id": "bob", "id": "own", "question": "What does Bob collect?", "evidence": ["m1"], "category": "people"},
]


def save(path: Path, whole: Any) -> Path:
    path.write_text(json.dumps(whole))
    return path


def save_lines(path: Path, lines: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return path


def test_it_reads_locomo(tmp_path: Path) -> None:
    found = read_dataset("locomo", save(tmp_path / "f.json", LOCOMO))
    [talk] = found.conversations
    assert [session.id for session in talk.sessions] == ["talk-1/1", "talk-1/2"]
    assert talk.sessions[0].said_at == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    first, _, photo = talk.sessions[0].turns
    assert (first.id, first.role, first.name) == ("D1:1", "user", "Mira")
    assert photo.text == "Look at this. [shares a photo: a photo of a kiln full of blue bowls]"
    assert [(q.category, sorted(q.evidence)) for q in talk.questions] == [
        ("4", ["D1:1"]),
        ("1", ["D2:1", "D2:2"]),
        ("2", ["D2:2"]),
    ]
    assert talk.questions[2].answer == "2023"
    assert found.notes == (
        "1 questions have no evidence that can be read, and were left out",
        "1 questions of category 5 (adversarial) were left out",
    )


def test_it_reads_longmemeval(tmp_path: Path) -> None:
    found = read_dataset("longmemeval", save(tmp_path / "f.json", LONGMEMEVAL))
    first, second = found.conversations
    assert [session.id for session in first.sessions] == ["s1", "s2", "s1#2"]
    assert first.sessions[0].said_at == datetime(2023, 5, 20, 2, 21, tzinfo=UTC)
    [question] = first.questions
    assert question.evidence == {"s1/0"}
    assert question.sessions == {"s1", "s1#2"}
    assert question.asked_at == datetime(2023, 5, 30, 23, 40, tzinfo=UTC)
    [unanswerable] = second.questions
    assert not unanswerable.answerable
    assert unanswerable.evidence == unanswerable.sessions == frozenset()


@pytest.mark.parametrize("form", ["rows", "string", "python", "lists", "plans", "folder"])
def test_it_reads_beam_in_every_form_that_is_published(tmp_path: Path, form: str) -> None:
    row = {"conversation_id": "1", "chat": BEAM_CHAT, "probing_questions": BEAM_QUESTIONS}
    path = tmp_path / "f.json"
    if form == "folder":
        path = tmp_path / "100K"
        (path / "1" / "probing_questions").mkdir(parents=True)
        save(path / "1" / "chat.json", BEAM_CHAT)
        save(path / "1" / "probing_questions" / "probing_questions.json", BEAM_QUESTIONS)
    elif form == "string":
        save(path, [row | {"probing_questions": json.dumps(BEAM_QUESTIONS)}])
    elif form == "python":
        save(path, [row | {"probing_questions": repr(BEAM_QUESTIONS)}])
    elif form == "lists":
        save(path, row | {"chat": [[turn for part in batch["turns"] for turn in part] for batch in BEAM_CHAT]})
    elif form == "plans":
        save(path, [row | {"chat": [{"plan-1": BEAM_CHAT[:1]}, {"plan-2": BEAM_CHAT[1:]}]}])
    else:
        save(path, {"rows": [{"row": row}]})
    [talk] = read_dataset("beam", path).conversations
    assert [[turn.id for turn in session.turns] for session in talk.sessions] == [["0", "1", "2"], ["3"]]
    assert talk.sessions[0].turns[0].text == "My first sprint ends on March 29."
    assert talk.sessions[1].said_at == datetime(2024, 3, 15, tzinfo=UTC)  # the last that was told
    assert {q.category: sorted(q.evidence) for q in talk.questions} == {
        "abstention": [],
        "information_extraction": ["0"],
        "knowledge_update": ["2", "3"],
    }
    assert [q.answerable for q in talk.questions] == [False, True, True]


def test_it_leaves_out_beam_questions_whose_evidence_is_ambiguous(tmp_path: Path) -> None:
    plans = [{"plan-1": BEAM_CHAT, "plan-2": BEAM_CHAT[:1]}]
    row = {"conversation_id": "1", "chat": plans, "probing_questions": BEAM_QUESTIONS}
    found = read_dataset("beam", save(tmp_path / "f.json", row))
    assert [q.category for q in found.conversations[0].questions] == ["abstention"]
    assert any("stand more than once" in note for note in found.notes)


def test_it_reads_lines_of_ones_own(tmp_path: Path) -> None:
    found = read_dataset("qa-jsonl", save_lines(tmp_path / "f.jsonl", QA))
    ann, bob = found.conversations
    assert (ann.entities, bob.entities) == ({"user_id": "ann"}, {"user_id": "bob"})
    assert [session.id for session in ann.sessions] == ["r1"]
    assert [question.id for question in ann.questions] == ["line 3", "line 4"]
    assert [question.id for question in bob.questions] == ["own"]


def test_it_gives_a_question_that_names_nobody_to_the_line_before(tmp_path: Path) -> None:
    lines = [QA[0], QA[3], QA[1], QA[4]]
    ann, bob = read_dataset("qa-jsonl", save_lines(tmp_path / "f.jsonl", lines)).conversations
    assert [(question.category, sorted(question.evidence)) for question in ann.questions] == [("2", ["m2"])]
    assert ann.questions[0].asked_at is not None
    assert [question.id for question in bob.questions] == ["own"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"user_id": "a", "question": "Why?", "evidence": ["m9"]}, "line 2: evidence 'm9' is no message of a"),
        ({"user_id": "a", "question": 5.5, "evidence": "m1"}, "line 2: evidence must be a list, not str"),
        ({"user_id": "a", "question": ["x"]}, "line 2: question must be a string, not list"),
        ({"user_id": "a", "question": " "}, "line 2: question is empty"),
        ({"user_id": "a", "question": "x" * 20_001}, "line 2: question has 20001 characters"),
        ({"user_id": "a", "messages": [{"content": "x"}]}, r"line 2: messages\[0\].id must be a string"),
        ({"user_id": "a", "messages": [{"id": "m1", "content": "x"}]}, "message ids of a must be unique; 'm1'"),
        ({"user_id": "a", "messages": [{"id": "x", "role": "king", "content": "x"}]}, "role='king' is no role"),
        ({"user_id": "a", "other": 1}, "line 2 has neither messages nor a question"),
        ({"user_id": "a", "question": "x\x00"}, "NUL"),
        ({"user_id": "a", "question": "Why?", "reference_date": "soon"}, "reference_date"),
        ({"user_id": "a", "question": "Why?", "reference_date": 1e17}, "reference_date"),
        ({"user_id": "a", "question": "Why?", "category": "all"}, "must not be 'all'"),
        ({"user_id": "a", "question": "Why?", "category": [1]}, "category must be a string or a whole number"),
        ({"user_id": "a", "question": "Why?", "filters": "x"}, "filters must be an object"),
        ({"user_id": "a" * 256, "question": "Why?"}, "user_id has 256 characters"),
        ({"user_id": "a", "question": "Why?", "evidence": [{"run_id": "r"}]}, "message_id must be a string"),
        ("x", "line 2 must be an object, not str"),
    ],
)
def test_it_refuses_lines_with_the_place(tmp_path: Path, line: Any, message: str) -> None:
    first = {"user_id": "a", "messages": [{"id": "m1", "content": "hello"}]}
    path = save_lines(tmp_path / "f.jsonl", [first, line])
    with pytest.raises(InvalidInput, match=message):
        read_dataset("qa-jsonl", path)


@pytest.mark.parametrize(
    ("kind", "whole", "message"),
    [
        ("locomo", {}, "the file must be a list, not dict"),
        ("locomo", [{"sample_id": "a"}], "a: conversation must be an object"),
        ("locomo", [{"sample_id": "a", "conversation": {}}], "has no session_1"),
        (
            "locomo",
            [{"sample_id": "a", "conversation": {"session_1": [], "session_1_date_time": "x"}}],
            "session_1_date_time='x'",
        ),
        ("locomo", LOCOMO * 2, "sample_id must be unique; 'talk-1' stands more than once"),
        ("longmemeval", [{"question_id": "q"}], "q: haystack_sessions must be a list"),
        ("longmemeval", [LONGMEMEVAL[0] | {"haystack_dates": []}], "there must be as many of each"),
        ("longmemeval", [LONGMEMEVAL[1] | {"haystack_dates": ["2023/15/40"]}], "which is not like '2023/05/20"),
        ("beam", [{"chat": [5], "probing_questions": {}}], r"chat\[0\] is neither a batch"),
        ("beam", [{"chat": "[", "probing_questions": {}}], "neither JSON nor a Python literal"),
    ],
)
def test_it_refuses_files_that_are_not_of_their_kind(tmp_path: Path, kind: str, whole: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_dataset(kind, save(tmp_path / "f.json", whole))


def test_it_refuses_what_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"f\.json is not UTF-8"):
        read_dataset("locomo", path)
    path.write_text('{"user_id": "a", "question": NaN}')
    with pytest.raises(InvalidInput, match="line 1 is not JSON: NaN is not a JSON value"):
        read_dataset("qa-jsonl", path)


def test_it_selects_conversations_and_the_first_questions(tmp_path: Path) -> None:
    whole = read_dataset("longmemeval", save(tmp_path / "f.json", LONGMEMEVAL))
    assert [c.id for c in datasets.select(whole, conversations=["q2_abs"]).conversations] == ["q2_abs"]
    assert datasets.select(whole, max_questions=1).num_questions == 1
    with pytest.raises(InvalidInput, match="there is no conversation q7 in this set; there are q1, q2_abs"):
        datasets.select(whole, conversations=["q7"])
