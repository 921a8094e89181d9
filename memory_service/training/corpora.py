"""Public data -> questions with the turns that answer them, in histories of several sessions each.

    QMSum (MIT; Zhong et al., NAACL 2021)                  meetings; questions about them with the turns they rest on
    FairytaleQA (Apache-2.0; Xu et al., ACL 2022)          stories, a sentence as a turn; the sentence of the section
                                                           that holds most of the answer's words
    Synthetic-Persona-Chat (CC BY 4.0; Jandaghi et al., 2023)   chats of two; questions made by templates from what is
                                                           known of each, and the turns in which they say it

Everything is drawn with a fixed seed.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import lexical

MEETINGS_A_HISTORY, STORIES_A_HISTORY, CHATS_A_HISTORY = 4, 8, 15
MAX_MEETINGS, MAX_STORIES, MAX_CHATS = 48, 120, 600
QUESTIONS_A_HISTORY = 70  # of one history, so that no set drowns another
MIN_WORDS = 4  # of a meeting's turn; the rest is "mm-hmm"
MAX_TURN_CHARS = 1_500
MAX_EVIDENCE = {"qmsum": 10, "fairytaleqa": 1, "persona": 3}  # a span of a hundred turns says nothing about a turn
ANSWER_SHARE = 0.5  # of an answer's words that a sentence holds to be its evidence
PERSONA_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    speaker: str
    text: str

    @property
    def rendered(self) -> str:
        """As a memory has it."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


@dataclass(slots=True)
class History:
    """questions: (text, ids of the turns that answer it)"""

    corpus: str
    sessions: list[list[Turn]] = field(default_factory=list)
    questions: list[tuple[str, frozenset[str]]] = field(default_factory=list)


def read_all(folder: Path, *, seed: int = 0) -> list[History]:
    """folder: with qmsum/, fairytaleqa/ and dialogues/ in it. Raises FileNotFoundError for what is not there."""
    rng = random.Random(seed)
    return [
        *read_meetings(folder / "qmsum" / "train.jsonl", rng),
        *read_stories(folder / "fairytaleqa" / "train.jsonl", rng),
        *read_chats(sorted((folder / "dialogues").glob("Synthetic-Persona-Chat_*.csv")), rng),
    ]


def _drawn(path: Path, most: int, rng: random.Random) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rng.shuffle(rows)
    return rows[:most]


def _groups(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    yield from (rows[i : i + size] for i in range(0, len(rows), size))


def _thinned(history: History, rng: random.Random) -> History:
    rng.shuffle(history.questions)
    history.questions = history.questions[:QUESTIONS_A_HISTORY]
    return history


# Meetings


def read_meetings(path: Path, rng: random.Random) -> Iterator[History]:
    for group in _groups(_drawn(path, MAX_MEETINGS, rng), MEETINGS_A_HISTORY):
        history = History("qmsum")
        for number, meeting in enumerate(group):
            turns = [
                Turn(f"{number}:{i}", turn["speaker"], said[:MAX_TURN_CHARS])
                for i, turn in enumerate(meeting["meeting_transcripts"])
                if len((said := _without_marks(turn["content"])).split()) >= MIN_WORDS
            ]
            history.sessions.append(turns)
            kept = {turn.id for turn in turns}
            for asked in meeting["specific_query_list"]:
                spans = [(int(begin), int(end)) for begin, end in asked["relevant_text_span"]]
                evidence = kept & {f"{number}:{i}" for begin, end in spans for i in range(begin, end + 1)}
                if 1 <= len(evidence) <= MAX_EVIDENCE["qmsum"]:
                    history.questions.append((asked["query"], frozenset(evidence)))
        yield _thinned(history, rng)


def _without_marks(said: str) -> str:
    return " ".join(re.sub(r"\{[^}]*\}", "", said).split())


# Stories

_SENTENCE_END = re.compile(r"([.!?][\"”’']?)\s+(?=[\"“'A-Z])")


def read_stories(path: Path, rng: random.Random) -> Iterator[History]:
    for group in _groups(_drawn(path, MAX_STORIES, rng), STORIES_A_HISTORY):
        history = History("fairytaleqa")
        for number, story in enumerate(group):
            turns: list[Turn] = []
            by_section: dict[str, list[Turn]] = {}
            for section in story["sections"]:
                for sentence in _SENTENCE_END.sub(r"\1\n", section["text"].replace("\n", " ")).split("\n"):
                    if sentence.strip():
                        turns.append(Turn(f"{number}:{len(turns)}", "", sentence.strip()))
                        by_section.setdefault(str(section["id"]), []).append(turns[-1])
            history.sessions.append(turns)
            for asked in story["questions"]:
                sections = [part.strip() for part in str(asked["cor_section"]).split(",")]
                best = _best_sentence(asked, [turn for part in sections for turn in by_section.get(part, [])])
                if best is not None:
                    history.questions.append((asked["question"], frozenset({best.id})))
        yield _thinned(history, rng)


def _best_sentence(asked: Mapping[str, Any], sentences: Sequence[Turn]) -> Turn | None:
    """The one with most of the answer's words; among those, with most of the question's."""
    answer, question = set(lexical.terms(str(asked["answer1"]))), set(lexical.terms(asked["question"]))
    if not answer or not sentences:
        return None

    def shares(turn: Turn) -> tuple[float, float]:
        held = set(lexical.terms(turn.text))
        return len(held & answer) / len(answer), len(held & question) / max(1, len(question))

    best = max(sentences, key=lambda turn: shares(turn)[0] + 0.3 * shares(turn)[1])
    return best if shares(best)[0] >= ANSWER_SHARE else None


# Chats

NAMES = (
    "Anna", "Ben", "Carla", "David", "Elena", "Frank", "Grace", "Henry", "Irene", "Jack", "Kate", "Liam", "Maria",
    "Nathan", "Olivia", "Peter", "Rosa", "Sam", "Tina", "Victor",
)  # fmt: skip
_TRADE = (
    r"musician|nurse|teacher|lawyer|doctor|student|engineer|artist|chef|writer|librarian|mechanic|photographer"
    r"|\w+er|\w+ist|\w+or"
)
# What is known of somebody -> questions that ask for its last group. {0} is the first group, {n} the name.
TEMPLATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"my favou?rite (.+?) (?:is|are) (.+)", ("What is {n}'s favorite {0}?", "Which {0} does {n} like best?")),
    (r"i work (?:at|for|in|as) (.+)", ("Where does {n} work?", "What does {n} do for work?", "What is {n}'s job?")),
    (
        rf"i am an? ((?:\w+ )?(?:{_TRADE}))\b.*",
        ("What does {n} do for a living?", "What is {n}'s occupation?", "What kind of work does {n} do?"),
    ),
    (
        r"i (?:really )?(?:like|love|enjoy) (?:to )?(.+)",
        ("What does {n} like to do?", "What does {n} enjoy?", "What are some of {n}'s hobbies?"),
    ),
    (r"i (?:hate|dislike|do not like) (.+)", ("What does {n} not like?", "What does {n} hate?")),
    (r"i drive an? (.+)", ("What car does {n} drive?", "What kind of vehicle does {n} own?")),
    (r"i live (?:in|on|near|with) (.+)", ("Where does {n} live?", "Who or where does {n} live with?")),
    (
        r"my (father|mother|mom|dad|wife|husband|brother|sister|parents|family) (?:is|was|are|works?|worked|plays?) "
        r"(.+)",
        ("What does {n}'s {0} do?", "What is known about {n}'s {0}?"),
    ),
    (r"i was born (?:in|on) (.+)", ("Where was {n} born?",)),
    (r"i play (.+)", ("What does {n} play?", "Which sport or instrument does {n} play?")),
    (r"i volunteer (.+)", ("Where does {n} volunteer?", "What volunteer work does {n} do?")),
    (
        r"i have (?:an? |two |three |\d )?(cats?|dogs?|turtle|horse|bird|parrot|lizard|snake) named (.+)",
        ("What is the name of {n}'s {0}?", "What pet does {n} have?"),
    ),
    (r"i have (.+? (?:cats?|dogs?|horses?|birds?|pets?|turtles?).*)", ("What pets does {n} have?",)),
    (
        r"i have (.+? (?:child\w*|kids?|sons?|daughters?|brothers?|sisters?|siblings?).*)",
        ("How many siblings or children does {n} have?", "Who is in {n}'s family?"),
    ),
    (r"i speak (.+)|i am fluent in (.+)", ("What languages does {n} speak?",)),
    (r"i grew up (.+)", ("Where did {n} grow up?",)),
    (r"i (?:graduated|attend|study|studied) (.+)", ("Where did {n} study?", "What is {n} studying?")),
    (r"i (?:recently|just) (.+)", ("What did {n} recently do?", "What happened to {n} lately?")),
    (r"i (?:own|collect) (.+)", ("What does {n} own?", "What does {n} collect?")),
    (
        r"i want to (?:be |become )?(.+)|my dream (?:is|job is) (.+)",
        ("What does {n} want to be?", "What is {n}'s dream?"),
    ),
    (r"i (?:went|traveled|have been) to (.+)", ("Where has {n} traveled?", "Which places has {n} been to?")),
    (r"i (?:read|watch) (.+)", ("What does {n} read or watch?",)),
)
_EMPTY = frozenset(lexical.terms("like love enjoy name user much lot really favorite also good great"))


def read_chats(paths: Sequence[Path], rng: random.Random) -> Iterator[History]:
    """Each history is of two people, who keep their names through all of it."""
    rows: list[dict[str, str]] = []
    for path in paths:
        with path.open(newline="") as file:
            rows.extend(csv.DictReader(file))
    if not rows:
        raise FileNotFoundError("no Synthetic-Persona-Chat_*.csv was found in dialogues/")
    rng.shuffle(rows)
    for group in _groups(rows[:MAX_CHATS], CHATS_A_HISTORY):
        names = rng.sample(NAMES, 2)
        history = History("persona")
        for number, row in enumerate(group):
            turns = list(_chat_turns(row["Best Generated Conversation"], names, number))
            history.sessions.append(turns)
            for speaker, known in zip(names, (row["user 1 personas"], row["user 2 personas"]), strict=True):
                said = [turn for turn in turns if turn.speaker == speaker and not turn.text.rstrip().endswith("?")]
                history.questions.extend(_persona_questions(known, speaker, said, rng))
        yield _thinned(history, rng)


def _chat_turns(conversation: str, names: Sequence[str], number: int) -> Iterator[Turn]:
    place = 0
    for line in conversation.split("\n"):
        match = re.match(r"\s*User ([12])\s*:\s*(.+)", line)
        if match:
            text = re.sub(r"\[?User ([12])(?:'s name)?\]?", lambda m: names[int(m.group(1)) - 1], match.group(2))
            yield Turn(f"{number}:{place}", names[int(match.group(1)) - 1], text)
            place += 1


def _persona_questions(
    known: str, name: str, said: Sequence[Turn], rng: random.Random
) -> Iterator[tuple[str, frozenset[str]]]:
    for line in dict.fromkeys(known.split("\n")):
        for pattern, questions in TEMPLATES:
            match = re.fullmatch(pattern, line.strip().lower().rstrip("."))
            if match is None:
                continue
            parts = [part for part in match.groups() if part]
            answer = set(lexical.terms(parts[-1])) - _EMPTY
            evidence = {
                t.id for t in said if answer and len(answer & set(lexical.terms(t.text))) >= PERSONA_SHARE * len(answer)
            }
            if 1 <= len(evidence) <= MAX_EVIDENCE["persona"]:
                yield rng.choice(questions).format(*parts, n=name), frozenset(evidence)
            break
