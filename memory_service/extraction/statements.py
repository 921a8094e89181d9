"""Statements in a message, found by grammar: who, which attribute, what value. Precision over recall.

A message is read sentence by sentence and clause by clause. A statement is taken from the beginning of a clause
only ("I live in ...", "Tom moved to ..."), never from questions, conditions, wishes, hearsay, quotations, fiction or
jokes. What points outside of its sentence ("I love it") is dropped.

clauses.py reads who and when; predicates.py, changes.py, plans.py, own.py and facts.py say what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .changes import read_change
from .clauses import KIN_PHRASE, Antecedent, Clause, Head, Who, heads, is_no_name, kin_subject, read_body
from .corrections import Correction, exchange, marker_end
from .endings import engaged_to, listed, read_ending, read_event
from .facts import read_everyday, read_line
from .guards import FICTION, HYPOTHETICAL, JOKE, NAME_INTRO, QUESTION_START, REPORTED, SARCASM, SENTENCE, SURE_INTRO
from .life import cut_instead, gave_way, read_ceased, read_happening, read_led, read_life, read_my_life, with_implied
from .own import read_my
from .plans import RECURRENCE, may_recur, read_fallen, read_plan, read_shifted
from .predicates import read_state
from .statement import Statement, from_third
from .verbs import VERBS, third_person
from .vocabulary import NATIONALITIES, NOT_SELF_NAMES, word_set

__all__ = ["Statement", "find_self_name", "find_statements"]

MAX_WORDS = 26  # a statement is a sentence to be read at a glance
HEARSAY = 0.5  # what one says about somebody else's words
_MAX_SENTENCE_CHARS = 600  # longer is a paste or an attack: reading a sentence takes the square of its length
_LISTED = re.compile(r"^\s*(?:\d{1,5}[.)]|[-*•])\s+\S", re.MULTILINE)
_LINE = re.compile(r"(?:(?!(?<=[.!?])[ \t]+\d{1,5}[.)] )[^\n])+")
_NOT_THEN = re.compile(
    (
        r"\s*,?\s+(?:and\s+)?not\s+(?:(?:in|at|on|a|an|the|"
        r"as)\s+)*(?P<old>[\w@.+'&-]+(?:\s[A-Z][\w'-]*)?)(?=\s*(?:[.,!;)]|$))"
    ),
    re.IGNORECASE,
)
_I_SAID = re.compile(
    (
        r"\s*(?:(?:sorry|oh|wait)[,.]?\s+)?(?:i know\s+)?i\s+(?:said|told\s+you|wrote|mentioned|claimed|"
        r"thought)\b[^.!?]*?(?:,|\bbut\b)\s*(?:but\s+)?(?:actually,?\s+|really,?\s+|in fact,?\s+)?(?=(?:i|"
        r"my|we|he|she|it)\b)"
    ),
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"\s*(?:(?:and|but|so|also|oh|well)\s+)?(?:(?P<source>(?-i:[A-Z][a-z]+(?:\s[A-Z][a-z]+)?))|my\s+"
    + KIN_PHRASE
    + r")\s+(?:just\s+|also\s+|recently\s+)?"
    r"(?:says?|said|told\s+(?:me|us)|tells\s+(?:me|us)|claims?|claimed|mentioned|swears|insists|thinks|"
    r"believes|reckons|wrote|texted(?:\s+me)?|announced)\s+(?:that\s+)?",
    re.IGNORECASE,
)


def find_statements(text: str, *, speaker: str, before: str = "") -> list[Statement]:
    """What the speaker says about themself, and about others who are named, in the order of the text.

    The first person becomes `speaker`. before: the message before, where "he" and "she" may have their name.
    [] where the message is a joke.
    """
    plain = text.replace("’", "'")
    lower = plain.lower()
    if _any_in(lower, _JOKE_WORDS) and (JOKE.search(plain) or SARCASM.search(plain)):
        return []
    if "\n" in plain and len(_LISTED.findall(plain)) >= 3:
        return list(_listed_statements(plain, speaker))
    fiction = FICTION.search(plain) if _any_in(lower, _FICTION_WORDS) else None
    stop = fiction.start() if fiction else len(plain)
    reader = _Reader(plain, speaker, before)
    found: list[Statement] = []
    num_quotes = read = 0
    for sentence in SENTENCE.finditer(plain):
        num_quotes += plain.count('"', read, sentence.start())
        read = sentence.start()
        if sentence.end() > stop:
            break
        asks, close = "?" in sentence["end"], sentence.start("end")
        tag = _TAG.search(plain, sentence.start(), close) if asks else None
        if tag and (not tag["mine"] or _OF_MYSELF.match(plain, sentence.start(), close)):
            asks, close = False, tag.start()
        if not asks and num_quotes % 2 == 0 and len(sentence[0]) <= _MAX_SENTENCE_CHARS:
            new = reader.sentence(sentence.start(), close)
            if new and close < sentence.start("end") and not plain[max(s.end for s in new) : close].strip(" ,"):
                new = [replace(s, end=sentence.end()) if s.end == max(n.end for n in new) else s for s in new]
            found += new
        reader.antecedent.moves_on(sentence[0])
    return with_implied(engaged_to(found, speaker), speaker)


# "Mikko is a forester now, did you know?" asks nothing. mine: a tag that asks for a yes where it is about others.
_TAG = re.compile(
    r"(?:,|\s[–—-])\s*(?:(?:did|do)\s+(?:you|u)\s+know(?:\s+that)?|did\s+(?:I|i)\s+(?:tell|mention\s+"
    r"(?:that\s+)?to)\s+you|"
    r"you\s+know|can\s+you\s+believe\s+(?:it|that)|would\s+you\s+believe\s+it|believe\s+it\s+or\s+not|remember|"
    r"have\s+you\s+heard|you\s+see|crazy,?\s+(?:huh|right)|(?:isn't|how)\s+(?:that|it)\s+(?:great|crazy|funny|cool|sad|"
    r"amazing|wonderful)|(?P<mine>right|isn't\s+it|isn't\s+(?:she|he)|aren't\s+(?:I|they|we)|don't\s+(?:I|we|they)|"
    r"doesn't\s+(?:he|she)|haven't\s+I|huh|eh|innit|no))\s*$",
    re.IGNORECASE,
)
_OF_MYSELF = re.compile(r"\s*(?:(?:so|and|but|well|oh),?\s+)*(?:I|we|my|our)\b", re.IGNORECASE)


# A cheap look before the long patterns.
_JOKE_WORDS = (
    "jok",
    "kidding",
    "jk",
    "j/k",
    "sarcas",
    "fool",
    "lol",
    "/s",
    "yeah",
    "as if",
    "no one",
    "oh sure",
    "and i",
    "fly",
    "dream",
    "totally",
    "obvious",
    "messing",
    "leg",
    "not!",
    "ha no",
    "ha, ",
)
_FICTION_WORDS = (
    "stor",
    "dream",
    "game",
    "movie",
    "film",
    "novel",
    "play",
    "series",
    "sitcom",
    "campaign",
    "simulation",
    "script",
    "fic",
    "fantas",
    "comic",
    "musical",
    "show",
    "book",
    "poem",
    "song",
    "world",
    "universe",
    "character",
    "avatar",
    "protagonist",
    "narrator",
    "ego",
    "sim ",
    "persona",
    "once upon",
    "let's",
    "pretend",
    "nightmare",
    "imagin",
    "lyrics",
    "sing",
    "chorus",
    "hypothe",
    "thought exp",
    "another life",
    "reality",
    "parallel",
    "writing",
    "wrote",
    "line",
    "chapter",
    "scene",
    "sentence",
    "monologue",
    "scenario",
    "exercise",
    "role",
    "you are a",
    "you're a",
)


def _any_in(text: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110  a generator costs three times as much
        if word in text:
            return True
    return False


def _listed_statements(plain: str, speaker: str) -> Iterator[Statement]:
    """A list: one statement a line, where the line is one."""
    reader = _Reader(plain, speaker, "")
    for line in _LINE.finditer(plain):
        if len(line[0]) > _MAX_SENTENCE_CHARS or "?" in line[0]:
            continue
        fact = read_line(line[0], line.start(), listed=True) if _LISTED.match(line[0].lstrip()) else None
        if fact is not None and not re.match(r"(?:[Ii]|[Ww]e|[Mm]y|[Oo]ur)(?:'\w+)?\s+[a-z]", fact.text):
            yield fact
            continue
        bullet = re.compile(r"\s*(?:(?:\d{1,5}[.)]|[-*•])\s+)?").match(plain, line.start(), line.end())
        begin = bullet.end() if bullet else line.start()
        for sentence in SENTENCE.finditer(plain, begin, line.end()):
            yield from reader.sentence(sentence.start(), sentence.start("end"))


class _Reader:
    """The state between the sentences of one message: whom a pronoun means, whether a correction was announced."""

    def __init__(self, plain: str, speaker: str, before: str) -> None:
        self.plain, self.speaker = plain, speaker
        self.antecedent = Antecedent(speaker, before[-300:].replace("’", "'"))
        lower = plain.lower()
        self._definite = _any_in(plain, (" of ", " by ", "'s ", " that ", " where ", " which ", "ous for", "nown for"))
        self._told = _any_in(lower, _TOLD_WORDS)
        self._trades = _any_in(lower, (" not ", "meant", "said", "wrote", "typed", "mentioned", "told"))
        self._announced = False  # "I misspoke." stands alone; what it takes back comes next

    def sentence(self, start: int, end: int) -> list[Statement]:
        plain = self.plain
        if QUESTION_START.match(plain, start, end):
            return []
        marker = marker_end(plain, start, end) if _MARKED.match(plain, start, end) else None
        while marker and (more := marker_end(plain, marker[0], end)):
            marker = (more[0], marker[1] or more[1])
        announced, self._announced = self._announced, False
        begin, sure, marked = (marker[0], marker[1], True) if marker else (start, False, False)
        if marker and sure and not plain[begin:end].strip(" ,.!"):
            self._announced = True
            return []
        said = _I_SAID.match(plain, begin, end) if self._told else None
        traded = None
        if marked or announced or self._trades:
            traded = exchange(plain, begin, end, marked=marked or announced)
        if said and not (traded and traded.old and traded.new):
            begin, sure = said.end(), True
        found = self._read(begin, end)
        if marker and sure and not found and not traded and len(plain[begin:end].split()) <= _FEW_WORDS:
            self._announced = True  # "I mean ten! Idris turned ten"
        if traded and not any(s.value and not s.silent for s in found):
            return [_exchanged(plain, traded, self.speaker)]
        if marked or announced or sure:
            found = [_as_correction(s, certain=sure or announced) for s in found]
        return [self._not_then(s, end) for s in found]

    def _not_then(self, statement: Statement, end: int) -> Statement:
        """ "I live in Oslo, not Bergen" takes Bergen back."""
        m = _NOT_THEN.match(self.plain, statement.end, end) if statement.value and not statement.silent else None
        if m is None or not (re.search(r"[A-Z0-9]", m["old"]) or re.search(r"[A-Z0-9]", statement.value or "")):
            return statement
        return replace(statement, corrects=True, instead_of=m["old"].strip(" ."), end=m.end())

    def _read(self, start: int, end: int) -> list[Statement]:
        plain = self.plain
        hearsay = _SAYS.match(plain, start, end) if self._told else None
        if hearsay is not None:
            return self._hearsay(hearsay, start, end)
        if self._definite and _DEFINITE.search(plain, start, end) and (fact := self._fact(start, end)):
            return [fact]
        found = self._clauses(start, end)
        if not found:
            found = self._impersonal(start, end)
        found = [s for s in found if len(s.text.split()) <= MAX_WORDS]
        return self._with_tails(found, end) if found else found

    def _with_tails(self, found: list[Statement], end: int) -> list[Statement]:
        """What follows a statement in its sentence is told with it: "lives in Porto, close to the river"."""
        starts = sorted({s.start for s in found if not s.silent})
        told: list[Statement] = []
        for i, statement in enumerate(found):
            after = min([start for start in starts if start >= statement.end], default=end)
            last = not any(s.end == statement.end and not s.silent for s in found[:i])
            tail = self.plain[statement.end : after]
            kept = _JOINT_END.sub("", tail) if after < end else tail.rstrip()
            words = [] if _EMPTY_TAIL.fullmatch(kept) else kept.split()
            if statement.silent or not last or not words or len(words) > _MAX_TAIL_WORDS or _TAIL_STOPS.search(kept):
                told.append(statement)
                continue
            if "no longer" in statement.text or "anymore" in statement.text:
                kept_text = re.sub(r"^\s*,?\s*any ?(?:more|longer)\b", "", kept)
            else:
                kept_text = kept
            text = statement.text + ("" if kept[0] in " ,;:" else " ") + third_person_of(kept_text, self.speaker)
            told.append(replace(statement, text=" ".join(text.split()).rstrip(" .!,"), end=statement.end + len(kept)))
        moved = {old.end: new.end for old, new in zip(found, told, strict=True) if old.end != new.end}
        return [replace(s, end=moved.get(s.end, s.end)) if s.silent else s for s in told]

    def _fact(self, start: int, end: int) -> Statement | None:
        sentence = self.plain[start:end]
        if HYPOTHETICAL.search(sentence) or REPORTED.search(sentence) or '"' in sentence:
            return None
        return read_line(sentence.strip(), start + len(sentence) - len(sentence.lstrip()))

    def _impersonal(self, start: int, end: int) -> list[Statement]:
        """Sentences about things: what was moved or called off, definite facts."""
        plain = self.plain
        sentence = plain[start:end]
        if _any_in(sentence.lower(), _HAPPENINGS) and not (
            HYPOTHETICAL.search(sentence) or REPORTED.search(sentence) or '"' in sentence
        ):
            if found := read_happening(plain, start, end, self.speaker):
                return found
            if found := read_event(plain, start, end, self.speaker):
                return found
            joint = _THEN.search(plain, start, end)
            if joint and (turned := self._turned_round(joint.end(), end)):
                return [turned]
        first = _FIRST_WORD.match(sentence)
        if first is None or first[1].lower() in _NO_THINGS:
            return []
        if not (_COPULA.search(sentence) or _SHIFTS.search(sentence) or _FALLS.search(sentence)):
            return []
        if HYPOTHETICAL.search(sentence) or REPORTED.search(sentence) or '"' in sentence:
            return []
        if _SHIFTS.search(sentence) and (found := read_shifted(plain, start, end, self.speaker)):
            return found
        if _FALLS.search(sentence) and (found := read_fallen(plain, start, end, self.speaker)):
            return found
        if not _COPULA.search(sentence):
            return []
        fact = read_everyday(sentence, start, self.speaker) or self._turned_round(start, end)
        if fact is None:
            fact = read_line(sentence.strip(), start + len(sentence) - len(sentence.lstrip()))
        return [fact] if fact else []

    def _turned_round(self, start: int, end: int) -> Statement | None:
        """ "Winter is my favourite season"."""
        m = _TURNED.match(self.plain, start, end)
        if m is None or m["value"].lower() in _NO_THINGS:
            return None
        owner = self.speaker if m["owner"].lower() in ("my", "our") else m["owner"][:-2]
        if m["what"].lower() == "best friend":
            name = m["value"].strip()
            text = f"{owner}'s best friend is {name}"
            return Statement(text, owner, "best friend", name, m.start("value"), m.end(), 0.9, single=True)
        own = read_my(f"{m['what']} is {m['value']}", m.start("value"), 0, owner)
        return replace(own, start=m.start("value"), end=m.end()) if own else None

    def _hearsay(self, m: re.Match[str], start: int, end: int) -> list[Statement]:
        """ "Tom says he's vegan" is of Tom, and not sure."""
        if m["source"]:
            if is_no_name(m["source"]):
                return []
            who = Who(m["source"])
        else:
            label, plural = kin_subject(self.speaker, m["kin"], m["kinname"])
            who = Who(label, plural=plural)
        inner = re.match(r"(?P<pronoun>he|she|they)\b|(?P<name>[A-Z][a-z]+)\b", self.plain[m.end() : end])
        if inner is None or '"' in self.plain[start:end] or HYPOTHETICAL.search(self.plain[m.end() : end]):
            return []
        saying = _Reader(self.plain, self.speaker, "")
        saying.antecedent.fix(who)
        found = [s for s in saying._clauses(m.end(), end) if s.subject != self.speaker and s.value]
        if not found:
            return []
        text = from_third(self.plain[start : found[0].end].strip(), self.speaker)
        begin = start + len(self.plain[start:end]) - len(self.plain[start:end].lstrip())
        return [replace(found[0], text=text[:1].upper() + text[1:], start=begin, confidence=HEARSAY)]

    def _clauses(self, start: int, end: int) -> list[Statement]:
        plain, found = self.plain, []  # type: tuple[str, list[Statement]]
        last: Clause | None = None
        for head in heads(plain, start, end, speaker=self.speaker, antecedent=self.antecedent):
            before = plain[start : head.start]
            if before and (HYPOTHETICAL.search(before) or REPORTED.search(before) or before.count('"') % 2):
                break
            if found and head.start < found[-1].end:
                continue
            new, clause = self._clause(head, end, last, bool(found))
            last = clause or (last if head.ellipsis else None)
            found += new
        return found

    def _clause(
        self, head: Head, end: int, last: Clause | None, any_found: bool
    ) -> tuple[list[Statement], Clause | None]:
        body = self.plain[head.body_start : end]
        if head.my:
            words = body.lstrip()
            if news := read_my_life(
                words,
                head.start,
                head.body_start + len(body) - len(words),
                head.owner or self.speaker,
                self.speaker,
            ):
                return news, None
            own = read_my(words, head.start, head.body_start + len(body) - len(words), head.owner or self.speaker)
            if own is None:
                own = read_everyday(self.plain[head.start : end], head.start, self.speaker)
            if own and own.attribute == "name" and (mate := _MATE_OF.fullmatch(own.subject or "")):
                own = replace(own, subject=mate["owner"], attribute="partner")
            if own and own.attribute == "owns":
                return [
                    own,
                    replace(own, attribute="has", silent=True),
                    replace(own, attribute="drives", silent=True),
                ], None
            return ([own] if own else []), None
        if head.ellipsis:
            if last is None or (re.match(r"\s*to\s", last.rest) and last.form != "future" and last.lemma != "move"):
                return [], None
            clause = read_body(last.who, body, head.body_start, head.body_start, owner=self.speaker, before=last)
        elif head.who is not None:
            clause = read_body(head.who, body, head.start, head.body_start, owner=self.speaker)
        else:
            return [], None
        if clause is None:
            return [], None
        found = read_clause(clause)
        lead = self.plain[head.start : head.body_start]
        if not found and head.who is not None and "day" in lead and (when := RECURRENCE.search(lead)):
            found = read_led(clause, when[0][:1].lower() + when[0][1:])
        return found, clause


_HAPPENINGS = (
    " off", "stole", "sold", "gone", "dead", "died", "drowned", "broke", "ran away", "no more ", " me ", "new ", "use ",
    "total", "number", "favo", "took ", "home", "more ", "dissol", "disband", "fold", "wound", "shut", "closed",
    "ended", "contin", "apart", "stopped", "no longer", "any", "end", " over", "leaves", "departs", "arrives",
    "lands", "takes", "opens", "closes", "finish", "was ", "went ", "had ", "pressure", "normal",
    "fine", "under control", "boards",
)  # fmt: skip
_MAX_TAIL_WORDS = 16
_FEW_WORDS = 3
_EMPTY_TAIL = re.compile(
    r"[\s,]*(?:(?:by the way|btw|lol|ha+h?a*|haha\w*|though|tho|you know|thanks|thank you|finally|"
    r"actually|sadly|luckily|honestly|"
    r"too|as well|myself|any ?more|any longer|after all|i guess|i think|ok|okay|please)[\s,]*)+",
    re.IGNORECASE,
)
_JOINT_END = re.compile(
    r"[\s,;:–—-]*(?:\b(?:and|but|so|because|since|then|also|though|although|as|now)\b[\s,]*)*$", re.IGNORECASE
)
_TAIL_STOPS = re.compile(r"[\"“”*<>`\[\]{}|]|\bnot\b\s+(?:in\s+|at\s+)?[A-Z0-9]", re.IGNORECASE)
_FIRST_PERSON = re.compile(
    r"\b(?:I|i|we|We)\b(?P<aux>'m|'re|'ve|'ll|'d|\s+am\b|\s+are\b|\s+have\b|\s+do\b|"
    r"\s+don't\b)?(?:\s+(?P<verb>[a-z]+))?"
)


def third_person_of(words: str, speaker: str) -> str:
    """ "so I walk to my work" -> "so Ann walks to Ann's work"."""

    def named(m: re.Match[str]) -> str:
        aux, verb = (m["aux"] or "").strip(), m["verb"]
        aux = {
            "'m": " is",
            "am": " is",
            "are": " is",
            "'re": " is",
            "'ve": " has",
            "have": " has",
            "'ll": " will",
            "'d": " would",
            "do": " does",
            "don't": " does not",
        }.get(aux, "")
        known = VERBS.get(verb) if verb and not aux else None
        if verb and known and "base" in known.forms and "past" not in known.forms:
            verb = third_person(known.lemma)
        elif verb in ("were", "need", "want", "think", "know", "feel", "hope", "try", "guess") and not aux:
            verb = {"were": "was", "try": "tries"}.get(verb, f"{verb}s")
        return f"{speaker}{aux}{' ' + verb if verb else ''}"

    return from_third(_FIRST_PERSON.sub(named, words), speaker)


_TURNED = re.compile(
    r"\s*(?:(?:so|and|but|well|now|actually),?\s+)?(?P<value>[\w' é-]{1,40}?)\s+(?:is|are)\s+(?:now\s+|"
    r"still\s+)?(?P<owner>my|our|(?-i:[A-Z]\w+)'s)\s+"
    r"(?:new\s+)?(?P<what>favou?rite\s+[\w-]+(?:\s(?!now\b|these\b|again\b|at\b|so\b)[\w-]+)?|"
    r"boss|manager|(?-i:best friend)|boyfriend|girlfriend|husband|"
    r"wife|partner|home\s?town|birthday|nickname|(?:e-?mail|phone number|address))(?:\s+(?:now|"
    r"these days|again))?\s*(?=[.,!;]|$)",
    re.IGNORECASE,
)
_THEN = re.compile(r"[,;:]\s+(?:and\s+|but\s+|so\s+|now\s+)*|\s(?:but|so)\s+")
_MATE_OF = re.compile(r"(?P<owner>.+)'s (?:wife|husband|partner|girlfriend|boyfriend|spouse|fianc[eé]e?)")
_MARKED = re.compile(
    (
        r"\s*(?:oh|oops|ah|hmm|well|hey|ok|okay|so|and|but|um|uh|my|whoops|actually|no|nope|wait|sorry|"
        r"correction|scratch|strike|let|i|typo|to)\b"
    ),
    re.IGNORECASE,
)
_TOLD_WORDS = (
    "said",
    "say",
    "told",
    "tells",
    "claim",
    "mentioned",
    "swears",
    "insists",
    "think",
    "thought",
    "believes",
    "reckons",
    "wrote",
    "texted",
    "announced",
)
_FIRST_WORD = re.compile(r"[\s\"(*-]*([\w']+)")
_NO_THINGS = word_set("""
    i i'm i've i'd i'll we we're we've you you're it it's that that's this he she they they're he's she's what how
    there there's these those who if when where why thanks thank your his her their let me
    """)
_DEFINITE = re.compile(
    r"\bthe [a-z]+ of\b|\b(?:is|was|are|were) [a-z]+ by\b|\b(?:citizen|capital) of\b|"
    r"'s [a-z ]+ is [A-Z]|[Tt]he [a-z][a-z ]* (?:of|that|where|which) .* (?:is|are|was)\b|\b(?:famous|"
    r"known) for\b"
)
_SHIFTS = re.compile(r"\b(?:moved|postponed|rescheduled|shifted|pushed|brought|changed|switched)\b", re.IGNORECASE)
_FALLS = re.compile(r"\b(?:through|cancel+ed|off|scrapped|happen\w*|work out|take place|go ahead)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"\b(?:is|was|are|were|'s|plays|speaks|worked|works|died|will be|starts|begins|founded|created|lived|wrote)\b"
)
_IF_LATER = re.compile(r"\b(?:if|unless|in case)\b", re.IGNORECASE)


def read_clause(clause: Clause) -> list[Statement]:
    """What one clause says: a change, something that recurs, a state, a plan or an event, in this order."""
    clause, instead = cut_instead(clause)
    found = [one for statement in _read_uncut(clause) for one in listed(statement)]
    if clause.denied and (even := _NOT_EVEN.search(clause.rest[:200])):
        found += [replace(s, value=even["what"], silent=True) for s in found if s.value]
    return [*gave_way(found, instead), *found] if instead else found


_NOT_EVEN = re.compile(r"\bnot\s+even\s+(?:an?\s+|the\s+)?(?P<what>[\w' -]{2,30}?)(?=\s*(?:$|[.,!;]))", re.IGNORECASE)


def _read_uncut(clause: Clause) -> list[Statement]:
    if clause.form == "future":
        return [] if _IF_LATER.search(clause.rest[:200]) else read_plan(clause)
    if may_recur(clause.rest) and RECURRENCE.search(clause.rest[:160]) and (regular := read_plan(clause)):
        return regular
    if ending := read_ending(clause):
        return ending
    return read_life(clause) or read_change(clause) or read_state(clause) or read_ceased(clause) or read_plan(clause)


def _as_correction(statement: Statement, *, certain: bool) -> Statement:
    """ "Actually, I moved" is news, "Actually, I live in Oslo" takes something back."""
    news = not certain and (
        statement.polarity != "holds" or statement.attribute in _NEWS or _CHANGE.search(statement.text)
    )
    return statement if statement.silent or news else replace(statement, corrects=True)


_NEWS = ("plans", "did", "wants to", "child")
_CHANGE = re.compile(
    r"\b(?:moved|relocated|quit|resigned|retired|started|began|joined|left|sold|bought|got|became|become|switched|"
    r"stopped|gave up|given up|married|divorced|broke up|split|adopted|hired|fired|promoted|laid off|turned|changed|"
    r"no longer|lost|found|took up|graduated|enrolled|replaced|swapped|now|these days|again|since|recently)\b"
)


def _exchanged(plain: str, traded: Correction, speaker: str) -> Statement:
    sentence = plain[traded.start : traded.end]
    begin = traded.start + len(sentence) - len(sentence.lstrip())
    text = re.sub(r"\bI\b", speaker, from_third(sentence.strip(), speaker))
    text = text[:1].upper() + text[1:]
    return Statement(
        text, None, None, traded.new, begin, traded.end, 0.8, corrects=True, instead_of=traded.old, timeless=True
    )


def find_self_name(text: str) -> tuple[str, int, int] | None:
    """The name that the speaker gives as their own ("My name is Alex", "I'm Alex.") and where; else None."""
    plain = text.replace("’", "'")
    if JOKE.search(plain):
        return None
    for m in NAME_INTRO.finditer(plain):
        before = re.split(r"[.!?\n]", plain[max(0, m.start() - 200) : m.start()])[-1]
        if HYPOTHETICAL.search(before) or REPORTED.search(before) or '"' in before:
            continue
        sure = bool(SURE_INTRO.match(m[0]))
        if m["name"].split()[0].lower() in NOT_SELF_NAMES or (not sure and re.fullmatch(NATIONALITIES, m["name"])):
            continue
        return m["name"], m.start(), m.end()
    return None
