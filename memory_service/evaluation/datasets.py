"""Readers: a file of LoCoMo, LongMemEval, BEAM or of one's own -> conversations with questions.

Evidence is always message ids of the question's own conversation, and where the set tells them, session ids. What
cannot be used is left out and counted in `Dataset.notes`; a file that is not what it should be raises InvalidInput with
the place.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from memory_service.errors import InvalidInput
from memory_service.filters import ENTITY_FIELDS, parse_moment
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.validation import UNSTORABLE, check_json, check_moment, check_name_size

KINDS = ("locomo", "longmemeval", "beam", "qa-jsonl")
ADVERSARIAL = "5"  # LoCoMo's category of questions that nothing answers: left out of the figures, as is usual
ABSTENTION = "_abs"  # LongMemEval's mark in a question id
MAX_QUERY_CHARS = 20_000
MAX_MESSAGE_CHARS = 200_000
MAX_EVIDENCE = 1000  # of one question


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. id: unique in its conversation."""

    id: str
    role: str
    text: str
    name: str | None = None
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    turns: tuple[Turn, ...]
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """evidence: message ids, or memory ids where a project's own memories are asked. asked_at: the day it is asked on.

    answerable: false where the right answer is that nothing is known. filters: asks another scope than its
    conversation's; only for questions about a project's own memories.
    """

    id: str
    text: str
    evidence: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    category: str = ""
    answer: str | None = None
    asked_at: datetime | None = None
    answerable: bool = True
    filters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """id is the user whom the questions are asked of; entities: other ids beside it, of one's own sets."""

    id: str
    sessions: tuple[Session, ...]
    questions: tuple[Question, ...]
    entities: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_messages(self) -> int:
        return sum(len(session.turns) for session in self.sessions)


@dataclass(frozen=True, slots=True)
class Dataset:
    kind: str
    conversations: tuple[Conversation, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_messages(self) -> int:
        return sum(conversation.num_messages for conversation in self.conversations)

    @property
    def num_questions(self) -> int:
        return sum(len(conversation.questions) for conversation in self.conversations)


def read_dataset(kind: str, path: Path) -> Dataset:
    """Raises InvalidInput where the file is not of its kind; OSError where it cannot be read."""
    if kind not in KINDS:
        raise InvalidInput(f"{kind!r} is no kind of set: {', '.join(KINDS)} are accepted")
    if kind == "beam" and path.is_dir():
        return read_beam(read_beam_folder(path))
    if kind == "qa-jsonl":
        return read_qa(read_lines(_decode(path)))
    return READERS[kind](_parse(_decode(path), path.name))


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"{path.name} is not UTF-8: {exc.reason} at byte {exc.start}") from exc


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"{name} is not JSON: {exc}") from exc


def select(
    dataset: Dataset, *, conversations: Sequence[str] | None = None, max_questions: int | None = None
) -> Dataset:
    """Some conversations, by id; of their questions the first so many in all. Raises InvalidInput for unknown ids."""
    kept = dataset.conversations
    if conversations:
        known = {conversation.id: conversation for conversation in kept}
        unknown = [name for name in conversations if name not in known]
        if unknown:
            shown = ", ".join(list(known)[:20])
            raise InvalidInput(f"there is no conversation {', '.join(unknown)} in this set; there are {shown}")
        kept = tuple(known[name] for name in dict.fromkeys(conversations))
    if max_questions is not None:
        kept = tuple(_first_questions(kept, max_questions))
    return replace(dataset, conversations=kept)


def _first_questions(conversations: Iterable[Conversation], room: int) -> Iterator[Conversation]:
    for conversation in conversations:
        if room <= 0:
            return
        questions = conversation.questions[:room]
        room -= len(questions)
        if questions:
            yield replace(conversation, questions=questions)


# What readers share


class _Notes:
    """Counts what is left out, by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, reason: str, number: int = 1) -> None:
        self._counts[reason] += number

    def listed(self) -> tuple[str, ...]:
        return tuple(f"{count} {reason}" for reason, count in self._counts.items() if count)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} must be an object, not {type(value).__name__}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(f"{where} must be a list, not {type(value).__name__}")
    return value


def _text(value: Any, where: str, *, limit: int = MAX_MESSAGE_CHARS) -> str:
    """What cannot be stored (NUL, lone surrogates) is dropped: the sets are as they are."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(f"{where} must be a string, not {type(value).__name__}")
    text = UNSTORABLE.sub("", str(value))
    if not text.strip():
        raise InvalidInput(f"{where} is empty")
    if len(text) > limit:
        raise InvalidInput(f"{where} has {len(text)} characters; at most {limit} are accepted")
    return text


def _id(value: Any, where: str) -> str:
    text = _text(value, where, limit=MAX_NAME_CHARS)
    return check_name_size(text, name=where)


def _answer(value: Any) -> str | None:
    return None if value in (None, "") else UNSTORABLE.sub("", str(value))


def _check_unique(ids: Iterable[str], what: str) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise InvalidInput(f"{what} must be unique; {twice[0]!r} stands more than once")


# LoCoMo (Maharana et al., ACL 2024): snap-research/locomo, data/locomo10.json

LOCOMO_TIME = "%I:%M %p on %d %B, %Y"
LOCOMO_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")


def read_locomo(whole: Any) -> Dataset:
    """A list of samples. Categories are numbers: 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial.

    Some evidence is malformed ("D8:6; D9:17", "D:11:26", "D"): every D<n>:<m> that names a turn counts. A photo is told
    by its caption. Questions of category 5 and without evidence are left out.
    """
    notes = _Notes()
    found = [_locomo_sample(_object(sample, f"sample {i}"), notes) for i, sample in enumerate(_list(whole, "the file"))]
    _check_unique((conversation.id for conversation in found), "sample_id")
    return Dataset("locomo", tuple(found), notes.listed())


def _locomo_sample(sample: Mapping[str, Any], notes: _Notes) -> Conversation:
    name = _id(sample.get("sample_id"), "sample_id")
    talk = _object(sample.get("conversation"), f"{name}: conversation")
    sessions = []
    number = 1
    while f"session_{number}" in talk:
        sessions.append(_locomo_session(name, talk, number))
        number += 1
    if not sessions:
        raise InvalidInput(f"{name}: conversation has no session_1")
    known = {turn.id for session in sessions for turn in session.turns}
    questions = []
    for i, raw in enumerate(_list(sample.get("qa"), f"{name}: qa")):
        question = _locomo_question(f"{name}/{i}", _object(raw, f"{name}: qa[{i}]"), known)
        if question.category == ADVERSARIAL:
            notes.add("questions of category 5 (adversarial) were left out")
        elif not question.evidence:
            notes.add("questions have no evidence that can be read, and were left out")
        else:
            questions.append(question)
    return Conversation(name, tuple(sessions), tuple(questions))


def _locomo_session(name: str, talk: Mapping[str, Any], number: int) -> Session:
    where = f"{name}: session_{number}"
    written = talk.get(f"session_{number}_date_time")
    try:
        said_at = datetime.strptime(str(written).strip(), LOCOMO_TIME).replace(tzinfo=UTC)
    except ValueError as exc:
        raise InvalidInput(f"{where}_date_time={written!r} is not like '1:56 pm on 8 May, 2023'") from exc
    turns = []
    for i, raw in enumerate(_list(talk[f"session_{number}"], where)):
        turn = _object(raw, f"{where}[{i}]")
        photo = f" [shares a photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
        role = "user" if turn.get("speaker") == talk.get("speaker_a") else "assistant"
        text = _text(f"{turn.get('text') or ''}{photo}", f"{where}[{i}].text")
        speaker = _id(turn.get("speaker"), f"{where}[{i}].speaker")
        turns.append(Turn(_id(turn.get("dia_id"), f"{where}[{i}].dia_id"), role, text, speaker))
    return Session(f"{name}/{number}", tuple(turns), said_at)


def _locomo_question(name: str, raw: Mapping[str, Any], known: set[str]) -> Question:
    written = " ".join(str(one) for one in raw.get("evidence") or [])
    named = {f"D{int(a)}:{int(b)}" for a, b in LOCOMO_EVIDENCE.findall(written)}
    return Question(
        id=name,
        text=_text(raw.get("question"), f"{name}: question", limit=MAX_QUERY_CHARS),
        evidence=frozenset(named & known),
        category=str(raw.get("category", "")),
        answer=_answer(raw.get("answer", raw.get("adversarial_answer"))),
    )


# LongMemEval (Wu et al., ICLR 2025): longmemeval_s.json, _m.json, _oracle.json

LONGMEMEVAL_TIME = re.compile(r"(\d{4})/(\d\d?)/(\d\d?)[^\d]*(?:(\d\d?):(\d\d))?")


def read_longmemeval(whole: Any) -> Dataset:
    """A list of questions, each with a haystack of its own: so each is a conversation of one question.

    Evidence turns are those with `has_answer`, evidence sessions those of `answer_session_ids`. A turn's id is
    "<session id>/<n>", from 0; a session that stands twice in a haystack gets "#2". Questions whose id ends with _abs
    have no answer: they are kept for the judge and have no evidence.
    """
    notes = _Notes()
    found = [_longmemeval_item(_object(raw, f"question {i}"), notes) for i, raw in enumerate(_list(whole, "the file"))]
    _check_unique((conversation.id for conversation in found), "question_id")
    return Dataset("longmemeval", tuple(found), notes.listed())


def _longmemeval_item(raw: Mapping[str, Any], notes: _Notes) -> Conversation:
    name = _id(raw.get("question_id"), "question_id")
    haystack = _list(raw.get("haystack_sessions"), f"{name}: haystack_sessions")
    ids = _list(raw.get("haystack_session_ids"), f"{name}: haystack_session_ids")
    dates = _list(raw.get("haystack_dates"), f"{name}: haystack_dates")
    if not len(haystack) == len(ids) == len(dates):
        raise InvalidInput(
            f"{name}: {len(haystack)} haystack_sessions, {len(ids)} haystack_session_ids and {len(dates)} "
            "haystack_dates: there must be as many of each"
        )
    seen: Counter[str] = Counter()
    sessions, evidence, where_found = [], set(), set()
    wanted = {str(one) for one in raw.get("answer_session_ids") or []}
    for session_id, written, turns in zip(ids, dates, haystack, strict=True):
        original = _id(session_id, f"{name}: a haystack_session_id")
        seen[original] += 1
        unique = original if seen[original] == 1 else f"{original}#{seen[original]}"
        where = f"{name}: session {unique}"
        read = []
        for i, value in enumerate(_list(turns, where)):
            turn = _object(value, f"{where}[{i}]")
            if not str(turn.get("content") or "").strip():
                notes.add("empty turns were left out")
                continue
            text = _text(turn["content"], f"{where}[{i}].content")
            read.append(Turn(f"{unique}/{i}", _role(turn.get("role"), f"{where}[{i}].role"), text))
            if turn.get("has_answer") is True:
                evidence.add(f"{unique}/{i}")
        if original in wanted:
            where_found.add(unique)
        if read:
            sessions.append(Session(unique, tuple(read), _longmemeval_time(written, where)))
    answerable = not name.endswith(ABSTENTION)
    if not answerable:
        notes.add("questions have no answer (_abs): they count for the judge, not for recall")
    elif not evidence:
        notes.add("questions mark no evidence turn: they count for session recall only")
    question = Question(
        id=name,
        text=_text(raw.get("question"), f"{name}: question", limit=MAX_QUERY_CHARS),
        evidence=frozenset(evidence) if answerable else frozenset(),
        sessions=frozenset(where_found) if answerable else frozenset(),
        category=str(raw.get("question_type", "")),
        answer=_answer(raw.get("answer")),
        asked_at=_longmemeval_time(raw["question_date"], f"{name}: question_date")
        if raw.get("question_date")
        else None,
        answerable=answerable,
    )
    return Conversation(name, tuple(sessions), (question,))


def _role(value: Any, where: str) -> str:
    role = str(value or "").lower()
    role = {"human": "user", "ai": "assistant", "gpt": "assistant"}.get(role, role)
    if role not in ("user", "assistant", "system", "developer", "tool", "function"):
        raise InvalidInput(f"{where}={value!r} is no role: user or assistant is expected")
    return role


def _longmemeval_time(written: Any, where: str) -> datetime:
    """ "2023/05/20 (Sat) 02:21"."""
    found = LONGMEMEVAL_TIME.match(str(written).strip())
    try:
        if found:
            year, month, day, hour, minute = (int(part or 0) for part in found.groups())
            return check_moment(datetime(year, month, day, hour, minute, tzinfo=UTC), name=where)
    except ValueError:
        pass
    raise InvalidInput(f"{where} has the date {written!r}, which is not like '2023/05/20 (Sat) 02:21'")


# BEAM (Tavakoli et al., 2025): mohammadtavakoli78/BEAM, and the rows of its copy on Hugging Face as JSON

BEAM_MARK = re.compile(r"\s*->->\s*[\w,./ -]*$")  # "->-> 1,2": where the generator stood in its plan
BEAM_ANSWERS = ("answer", "ideal_answer", "ideal_response", "ideal_summary", "expected_compliance")


def read_beam_folder(folder: Path) -> list[dict[str, Any]]:
    """chats/100K, or one chat of it: folders with chat.json and probing_questions/probing_questions.json."""
    chats = sorted({path.parent for path in folder.glob("**/chat.json")}, key=lambda path: (len(path.name), path.name))
    rows = []
    for chat in chats:
        questions = chat / "probing_questions" / "probing_questions.json"
        if questions.exists():
            rows.append(
                {
                    "conversation_id": chat.name,
                    "chat": _parse(_decode(chat / "chat.json"), str(chat / "chat.json")),
                    "probing_questions": _parse(_decode(questions), str(questions)),
                }
            )
    if not rows:
        raise InvalidInput(f"{folder}: there is no folder with chat.json and probing_questions/probing_questions.json")
    return rows


def read_beam(whole: Any) -> Dataset:
    """One conversation or a list of them: {"conversation_id", "chat", "probing_questions"}.

    chat is a list of batches {"turns": [[turn, ...], ...]}, a list of lists of turns, or a list of plans {"plan-1":
    [batch, ...]} (10M). probing_questions is an object {ability: [question, ...]}, or that as a string. Evidence is
    every number in source_chat_ids: the ids of turns. Questions without (abstention) are kept for the judge.
    """
    if isinstance(whole, Mapping) and isinstance(whole.get("rows"), list):
        whole = [row.get("row", row) if isinstance(row, Mapping) else row for row in whole["rows"]]
    rows = whole if isinstance(whole, list) else [whole]
    notes = _Notes()
    found = [_beam_row(_object(row, f"conversation {i}"), str(i + 1), notes) for i, row in enumerate(rows)]
    _check_unique((conversation.id for conversation in found), "conversation_id")
    return Dataset("beam", tuple(found), notes.listed())


def _beam_row(row: Mapping[str, Any], fallback: str, notes: _Notes) -> Conversation:
    name = _id(row.get("conversation_id", fallback), "conversation_id")
    batches = list(_beam_batches(_written(row.get("chat"), f"{name}: chat"), name))
    counts = Counter(str(turn.get("id")) for _, turns in batches for turn in turns if turn.get("id") is not None)
    sessions, said_at = [], None
    for number, (plan, turns) in enumerate(batches, start=1):
        read = []
        for i, turn in enumerate(turns):
            where = f"{name}: batch {number}, turn {i}"
            content = BEAM_MARK.sub("", str(turn.get("content") or ""))
            if not content.strip():
                notes.add("empty turns were left out")
                continue
            said_at = _beam_time(turn.get("time_anchor")) or said_at
            given = str(turn.get("id", f"{number}:{i}"))
            unique = given if counts[given] <= 1 else f"{plan}{number}:{given}"
            read.append(
                Turn(_id(unique, f"{where}.id"), _role(turn.get("role"), where), _text(content, where), None, said_at)
            )
        if read:
            sessions.append(Session(f"{name}/{number}", tuple(read), read[0].said_at))
    ambiguous = {one for one, count in counts.items() if count > 1}
    known = {turn.id for session in sessions for turn in session.turns}
    probing = _object(
        _written(row.get("probing_questions"), f"{name}: probing_questions"), f"{name}: probing_questions"
    )
    questions = []
    for ability, items in probing.items():
        for i, item in enumerate(items if isinstance(items, list) else [items]):
            raw = _object(item, f"{name}: probing_questions.{ability}[{i}]")
            named = set(_numbers(raw.get("source_chat_ids")))
            if named & ambiguous:
                notes.add("questions name turn ids that stand more than once in their conversation, and were left out")
                continue
            text = raw.get("question")
            questions.append(
                Question(
                    id=f"{name}/{ability}/{i}",
                    text=_text(text, f"{name}: {ability}[{i}].question", limit=MAX_QUERY_CHARS),
                    evidence=frozenset(named & known),
                    category=str(ability),
                    answer=next((_answer(raw[key]) for key in BEAM_ANSWERS if raw.get(key)), None),
                    answerable=ability != "abstention",
                )
            )
            if not named & known:
                notes.add("questions name no evidence: they count for the judge, not for recall")
    return Conversation(name, tuple(sessions), tuple(questions))


def _written(value: Any, where: str) -> Any:
    """Lists and objects; also as a string of JSON or of a Python literal, as the copy on Hugging Face has them."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
            raise InvalidInput(f"{where} is a string that is neither JSON nor a Python literal") from exc


def _beam_batches(chat: Any, name: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """(prefix of its plan, turns) for each batch."""
    for i, item in enumerate(_list(chat, f"{name}: chat")):
        if isinstance(item, list):
            yield "", _turns(item, f"{name}: chat[{i}]")
        elif isinstance(item, Mapping) and "turns" in item:
            yield "", _turns(item["turns"], f"{name}: chat[{i}].turns")
        elif isinstance(item, Mapping) and any(isinstance(value, list) for value in item.values()):
            for plan in sorted(item, key=_natural):
                for _, turns in _beam_batches(item[plan] or [], f"{name}: {plan}"):
                    yield f"{plan}:", turns
        else:
            raise InvalidInput(f"{name}: chat[{i}] is neither a batch with turns, nor a list of turns, nor a plan")


def _turns(value: Any, where: str) -> list[Mapping[str, Any]]:
    """Turns, also from lists of lists of them."""
    found: list[Mapping[str, Any]] = []
    for i, item in enumerate(_list(value, where)):
        found += _turns(item, f"{where}[{i}]") if isinstance(item, list) else [_object(item, f"{where}[{i}]")]
    return found


def _natural(name: str) -> tuple[int, str]:
    number = re.search(r"\d+", name)
    return (int(number[0]) if number else 0, name)


def _beam_time(written: Any) -> datetime | None:
    """ "March-15-2024"; None for what is not a date."""
    for form in ("%B-%d-%Y", "%b-%d-%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(str(written or "").strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _numbers(value: Any) -> Iterator[str]:
    """Every number in source_chat_ids, which is a list, or lists under names, or one number."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | str) and not isinstance(value, bool):
        yield from re.findall(r"\d+", str(value))


# Our own: one JSON object a line (docs/evaluation.md)


@dataclass(frozen=True, slots=True)
class Line:
    """number: as an editor counts."""

    number: int
    value: Mapping[str, Any]


def read_lines(text: str) -> Iterator[Line]:
    """Raises InvalidInput, naming the line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line, parse_constant=_refuse, parse_float=_finite)
            except (ValueError, RecursionError) as exc:
                raise InvalidInput(f"line {number} is not JSON: {exc}") from exc
            yield Line(number, _object(value, f"line {number}"))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"the number {written[:40]} is too large")
    return number


def read_qa(lines: Iterable[Line]) -> Dataset:
    """Lines with messages, and lines with questions; of one user's (or agent's, or app's) lines a conversation is made.

    Without any line of messages the questions are about memories that are there already.
    """
    builders: dict[tuple[tuple[str, str], ...], _Builder] = {}
    last: tuple[tuple[str, str], ...] | None = None
    for line in lines:
        where = f"line {line.number}"
        check_json(line.value, name=where)
        named = _entities(line.value, where)
        key = named or last
        if key is None:
            if "messages" in line.value:
                raise InvalidInput(f"{where} names nobody: at least one of {', '.join(ENTITY_FIELDS[:3])} is needed")
            key = ()
        last = key or last
        builder = builders.setdefault(key, _Builder(dict(key)))
        if "messages" in line.value:
            builder.add_messages(line.value, where)
        elif "question" in line.value:
            builder.add_question(line.value, where, line.number)
        else:
            raise InvalidInput(f"{where} has neither messages nor a question")
    notes = _Notes()
    conversations = tuple(builder.build(notes) for builder in builders.values())
    _check_unique((question.id for one in conversations for question in one.questions), "a question's id")
    _check_unique((one.id for one in conversations), "the names of users, agents and apps together")
    return Dataset("qa-jsonl", conversations, notes.listed())


def _entities(raw: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    """user_id, agent_id and app_id, at the top or in `scope`."""
    inside = _object(raw.get("scope") or {}, f"{where}: scope")
    named = {name: raw.get(name) or inside.get(name) for name in ENTITY_FIELDS if name != "run_id"}
    return tuple((name, _id(value, f"{where}: {name}")) for name, value in named.items() if value not in (None, ""))


class _Builder:
    """Collects the lines of one conversation."""

    def __init__(self, entities: dict[str, str]) -> None:
        self.entities = entities
        self.sessions: dict[str, list[Turn]] = {}
        self.said_at: dict[str, datetime | None] = {}
        self.questions: list[Question] = []
        self.wanted: dict[str, str] = {}  # evidence -> the line that names it

    def add_messages(self, raw: Mapping[str, Any], where: str) -> None:
        run = _id(raw["run_id"], f"{where}: run_id") if raw.get("run_id") not in (None, "") else ""
        turns = self.sessions.setdefault(run, [])
        default = _moment(raw.get("timestamp"), f"{where}: timestamp")
        self.said_at.setdefault(run, default)
        for i, value in enumerate(_list(raw["messages"], f"{where}: messages")):
            place = f"{where}: messages[{i}]"
            message = _object(value, place)
            written = message.get("created_at", message.get("timestamp"))
            turns.append(
                Turn(
                    id=_id(message.get("id"), f"{place}.id"),
                    role=_role(message.get("role", "user"), f"{place}.role"),
                    text=_text(message.get("content"), f"{place}.content"),
                    name=_id(message["name"], f"{place}.name") if message.get("name") else None,
                    said_at=_moment(written, f"{place}.created_at") or default,
                )
            )

    def add_question(self, raw: Mapping[str, Any], where: str, number: int) -> None:
        evidence = raw.get("evidence", [])
        named = [_evidence(one, f"{where}: evidence") for one in _list(evidence, f"{where}: evidence")]
        if len(named) > MAX_EVIDENCE:
            raise InvalidInput(f"{where} names {len(named)} pieces of evidence; at most {MAX_EVIDENCE} are accepted")
        sessions = [_id(one, f"{where}: sessions") for one in _list(raw.get("sessions", []), f"{where}: sessions")]
        filters = raw.get("filters")
        for one in named:
            self.wanted.setdefault(one, where)
        self.questions.append(
            Question(
                id=_id(raw.get("id", f"line {number}"), f"{where}: id"),
                text=_text(raw["question"], f"{where}: question", limit=MAX_QUERY_CHARS),
                evidence=frozenset(named),
                sessions=frozenset(sessions),
                category=_category(raw.get("category"), where),
                answer=_answer(raw.get("answer")),
                asked_at=_moment(raw.get("reference_date"), f"{where}: reference_date"),
                answerable=raw.get("answerable") is not False,
                filters=_object(filters, f"{where}: filters") if filters is not None else None,
            )
        )

    def build(self, notes: _Notes) -> Conversation:
        name = "/".join(self.entities.values()) or "everybody"
        sessions = tuple(
            Session(run or name, tuple(turns), self.said_at[run]) for run, turns in self.sessions.items() if turns
        )
        ids = [turn.id for session in sessions for turn in session.turns]
        if sessions:
            _check_unique(ids, f"message ids of {name}")
            for evidence, where in self.wanted.items():
                if evidence not in set(ids):
                    raise InvalidInput(f"{where}: evidence {evidence!r} is no message of {name}")
        without = sum(not question.evidence and question.answerable for question in self.questions)
        notes.add("questions name no evidence: they count for the judge, not for recall", without)
        return Conversation(name, sessions, tuple(self.questions), self.entities)


def _evidence(value: Any, where: str) -> str:
    """A message's id (or a memory's); {"message_id", "run_id"} where an id stands in several runs."""
    if isinstance(value, Mapping):
        run = value.get("run_id")
        return evidence_key(_id(value.get("message_id"), f"{where}.message_id"), str(run) if run else None)
    return _id(value, where)


def evidence_key(message_id: str, run_id: str | None = None) -> str:
    """How evidence is named in one string."""
    return message_id if run_id is None else f"{run_id}\n{message_id}"


def _category(value: Any, where: str) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput(f"{where}: category must be a string or a whole number, not {type(value).__name__}")
    if value == "all":
        raise InvalidInput(f"{where}: category must not be 'all', which stands for all of them")
    return _text(value, f"{where}: category", limit=100)


def _moment(value: Any, where: str) -> datetime | None:
    if value in (None, ""):
        return None
    moment = parse_moment(value, name=where)
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.max if where.endswith("reference_date") else time.min, UTC)
    return check_moment(moment, name=where)


READERS: dict[str, Callable[[Any], Dataset]] = {
    "locomo": read_locomo,
    "longmemeval": read_longmemeval,
    "beam": read_beam,
}
