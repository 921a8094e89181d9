"""Clauses of a sentence: who, in which tense, denied or not, which verb, and what follows it.

A clause is told again in the third person by `Clause.tell`, so that every statement reads as it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .verbs import VERBS, third_person
from .vocabulary import HE_KIN, KIN, NOT_PEOPLE, PETS, SHE_KIN, word_set

# be/do/have and the main verb together. used: "used to work". goes: "is going to work", "will work".
Form = Literal["present", "ing", "past", "perfect", "future", "used"]

_ADVERB = (
    r"(?:really|absolutely|also|just|actually|totally|truly|definitely|simply|personally|honestly|kinda|only|both|"
    r"especially|genuinely|particularly|sure|currently|recently|finally|already|officially|even|eventually|"
    r"happily|sadly|unfortunately|soon|probably(?=\s+going)|once(?=\s+(?:more|again))|first|"
    r"usually|often|mostly|mainly|still|now|always|never|ever|no\s+longer|not|long|both|all|"
    r"very\s+much|so(?=\s+(?:love|enjoy))|do(?=\s+(?:love|like|enjoy|have|live|work|play|prefer|hate|speak|eat|own)))"
)
# "have a broken arm", "have seven cats": what is had, and no participle.
_NOT_HAD = (
    r"(?!(?:an?|the|my|our|his|her|no|some|any|two|three|four|five|six|seven|eight|nine|ten|eleven|one|many|red|"
    r"children|kitten|sudden)\b)"
)
_PP = (
    r"(?:split|quit|left|sold|bought|lost|met|become|begun|run|won|found|taught|read|built|kept|come|swum|made|put|set|"
    r"gotten|beat|cut|stopped|had|given|grown|gone|spent)"
)
_AUX = (
    r"(?:'?m\s+gonna|(?:'re|are|'s|is)\s+gonna|'m|m(?=\s)|am|'re|aren't|are|isn't|is|wasn't|weren't|was|were|'ve|"
    rf"haven't|have(?=\s+(?:got\b|been\b|{_NOT_HAD}(?:\w+\s+)?{_NOT_HAD}(?:\w+(?:ed|en|ne)|{_PP})\b))|hasn't|"
    rf"has(?=\s+(?:got\b|been\b|{_NOT_HAD}(?:\w+\s+)?{_NOT_HAD}"
    rf"(?:\w+(?:ed|en|ne)|{_PP})\b))|hadn't|had(?=\s+(?:been\b|\w+ed\b))|'s|"
    r"'ll|will|won't|shall|don't|doesn't|didn't|do\s+not|does\s+not|did\s+not|did|used\s+to|"
    r"can't\s+stand|cannot\s+stand|can\s+not\s+stand|can(?=\s+speak)|"
    r"'d|would|wouldn't|could|couldn't|should|shouldn't|might|may|must|can't|cannot|can)\b"
)
_BODY = re.compile(
    rf"\s*(?P<adv>(?:{_ADVERB}\s+)*)(?:(?P<aux>{_AUX})\s*)?(?P<adv2>(?:{_ADVERB}\s+)*)"
    r"(?:(?P<soon>going\s+to|gonna|about\s+to)\s+(?=(?-i:[a-z]))(?!(?:the|an?|my|our|his|her|their|bed|work|school|"
    r"church|college|university|town|sleep|some)\b))?(?:(?P<been>been)\s+)?(?P<adv3>(?:(?:also|now|still|not)\s+)?)"
    r"(?P<verb>[\w-]+)?",
    re.IGNORECASE,
)
_AS_WELL = re.compile(r"[^.,;!?]*\s(?:as well|too)\s*(?:[.!,]|$)", re.IGNORECASE)
_KEEP = re.compile(r"\b(?:still|always|usually|often|mostly|mainly|now)\b", re.IGNORECASE)
_NOT_ANY_MORE = re.compile(r"\b(?:any ?more|any longer)\b", re.IGNORECASE)
_BE = frozenset({"'m", "m", "am", "'re", "are", "is", "aren't", "isn't"})
_WAS = frozenset({"was", "were", "wasn't", "weren't"})
_HAVE = frozenset({"'ve", "have", "has", "haven't", "hasn't"})
_DO = frozenset({"don't", "do not", "doesn't", "does not"})
_WILL = frozenset({"'ll", "will", "won't", "shall"})
_DID = frozenset({"didn't", "did not", "did"})
# After "'s" and "has been" these are states, not perfects: "she's married".
_ADJECTIVES = word_set("""
    married retired divorced engaged separated interested settled finished called named dated left found known
    """)

_CAPITAL = "[A-ZÀ-ÖØ-ÞĀĆČĎĐĒĞĪİŁŃŇŌŐŘŚŞŠŤŪŮŰŹŻŽ]"
_NAME_WORD = rf"{_CAPITAL}[^\W\d_]+(?:-[^\W\d_]+|'(?!s\b)[^\W\d_]{{2,}})*"
_NAME = rf"(?-i:(?:(?:Mr|Mrs|Ms|Dr)\.?\s)?{_NAME_WORD}(?:\s{_NAME_WORD})?)"
_KIN_ADJECTIVE = (
    r"(?:(?:older|younger|little|big|oldest|youngest|eldest|twin|late|best|old|half|elder|new|ex|step|two|three)[ -])*"
)
_KIN_NOUN = (
    rf"(?:{KIN}|{PETS}|(?:best )?friend|boss|neighbou?r|roommate|flatmate|housemate|colleague|co-?worker|manager|"
    rf"mentor|teacher|ex(?:-(?:wife|husband|girlfriend|boyfriend))?|in-laws|mother-in-law|father-in-law)"
)
KIN_PHRASE = rf"(?P<kin>{_KIN_ADJECTIVE}{_KIN_NOUN})(?!')(?:,?\s(?P<kinname>{_NAME}),?)?"
OPENER = (
    r"(?:(?:oh|well|yeah|yea|yes|yep|yup|no|nope|nah|haha|hah|wow|cool|thanks|hey|hi|hello|so|and|but|actually|also|"
    r"plus|honestly|personally|anyway|btw|by the way|as for me|for me|same here|me too|true|right|ok|okay|sure|"
    r"unfortunately|luckily|sadly|lately|recently|currently|today|these days|nowadays|right now|at the moment|"
    r"in fact|to be honest|tbh|fun fact|besides that|nice to meet you(?: too)?|cause|because|though|for starters|"
    r"well then|sometimes|usually|mostly|ah|aw|awesome|great|nice|good news|bad news|big news|guess what|finally|"
    r"as i said|like i said|as i mentioned|as mentioned|reminder|don't forget|remember|by the way|"
    r"update on me|for the record|it turns out(?: that)?|turns out(?: that)?|as it turns out|"
    r"as of (?:today|now|this week|this month)|"
    r"from now on|from today|"
    r"update|quick update|sorry|wait|no wait|correction|scratch that|i mean|meanwhile|then|now|still|eventually|"
    r"in the end|after all|"
    r"news)(?:,? (?-i:[A-Z][a-z]+)(?=[,!.:]))?[,!.:]*\s+)*"
)
# "Last March, I moved": when it was, said first. What it is is left to timeexpr.
_WHEN = (
    r"(?:(?:(?:back )?in|on|since|at|over|during|last|this|next|every|each|yesterday|tomorrow|tonight|today|two|"
    r"three|four|five|a|with\s+(?:this|these|the|my|our))\b"
    r"[\w ']{0,30}?,?\s+)?"
)
_SUBJECT = (
    rf"(?:(?P<us>(?:(?:my|our)\s(?:{_KIN_NOUN})|{_NAME}),?\s(?:{_NAME},?\s)?and\s(?:i|me)|"
    rf"me\sand\s[\w ]{{2,24}}?(?=\s[a-z]+ed\b))\b"
    rf"|(?P<i>i)(?=\b|'?m\b)|(?P<we>we)\b"
    rf"|(?:my|our)\s(?P<kin1>{_KIN_ADJECTIVE}{_KIN_NOUN}(?:\s{_NAME})?),?\sand\s(?P<mate>(?:her\s|"
    rf"his\s)?(?:{_KIN_NOUN}\s)?{_NAME})"
    r"(?=\s)"
    rf"|(?:(?:my|our)\s|the\s(?=(?:twins|kids|children|baby)\b))(?:{KIN_PHRASE})(?=\s|'s\s|,\s)"
    rf"|(?:my|our)\s(?P<mykin>{_KIN_ADJECTIVE}{_KIN_NOUN}(?:\s{_NAME})?)'s\s"
    r"|(?P<my>my|our)\b"
    r"|(?P<pronoun>he|she|they)\b"
    rf"|(?P<owner>{_NAME})'s\s(?P<ownedkin>{_KIN_NOUN})(?!')(?:\s(?P<ownedname>{_NAME}))?(?=\s)"
    rf"|(?P<has>{_NAME}(?:'s\s{_KIN_NOUN})?)'s\s"
    r"|(?P<their>his|her|their)\s"
    rf"|(?P<appos>{_NAME}),\s(?:my|our)\s(?P<apposkin>{_KIN_ADJECTIVE}{_KIN_NOUN}),"
    rf"|(?P<name>(?!(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?|January|February|March|April|May|June|July|"
    rf"August|September|October|November|"
    rf"December)\b){_NAME})(?:\sand\s(?P<name2>{_NAME}))?(?=\s|'s\s|'re\s|,\s(?:who)\s))"
)
_FIRST = re.compile(rf"\s*[-*•\"(]?\s*{OPENER}(?P<lead>{_WHEN}){_SUBJECT}", re.IGNORECASE)
_VERB_NEXT = (
    r"(?P<ellipsis>(?=(?:(?:just|then|also|now|recently|finally|am|is|are|no longer|don't)\s+)*(?:"
    + "|".join(sorted(VERBS, key=len, reverse=True))
    + r"|allergic|from(?=\s(?-i:[A-Z])))\b))"
)
# Where a further clause can begin. Few places, so that the long patterns are tried only there.
_CONNECTIVE = re.compile(
    r"[,;:]\s+(?:(?:and|but|so|then|because|as|though|although|since)\s+)?|\s[-–—]+\s+|[–—]|\s(?:and|"
    r"but|so|because|since|plus|'?cause|as|though|although)\s+"
)
_SUBJECT_NEXT = re.compile(OPENER + _SUBJECT, re.IGNORECASE)
_SHARED_NEXT = re.compile(rf"(?:then\s+)?{_VERB_NEXT}", re.IGNORECASE)


# "Started a new job today": the speaker goes without saying.
_BARE = re.compile(
    rf"\s*{OPENER}(?:(?:just|finally|recently|officially)\s+)?(?P<verb>(?:started|moved|joined|quit|"
    rf"adopted|bought|sold|booked|got|"
    r"signed|registered|finished|ran|went|visited|graduated|cancel+ed|retired|switched|stopped|gave up|"
    r"took up|became|turned)\s)(?!(?:that|it|out|this)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Who:
    """text: "Ann", "Ann's sister Anna". speaker: it is the one who speaks. other: the second of "Tom and Sara"."""

    text: str
    speaker: bool = False
    plural: bool = False
    pair: tuple[str, str] | None = None
    with_kin: str | None = None  # "my wife and I"


@dataclass(frozen=True, slots=True)
class Clause:
    """who + verb (as said; "" for a bare "be") + rest. rest_start and start are places in the text."""

    who: Who
    form: Form
    lemma: str
    verb: str
    rest: str
    start: int
    rest_start: int
    negated: bool = False
    ceased: bool = False
    never: bool = False
    keep: str = ""
    stand: bool = False  # "can't stand"
    owner: str = ""  # the speaker
    also: bool = False  # "as well": beside what else holds

    @property
    def subject(self) -> str:
        return self.who.text

    @property
    def denied(self) -> bool:
        return self.negated or self.ceased or self.never

    def tell(self, value: str) -> str:
        """The clause in the third person, with `value` for what follows the verb: "Ann no longer lives in Oslo"."""
        words = f"{self.subject} {self._predicate()} {value}"
        return re.sub(r"\s+", " ", words).replace(" been been ", " been ").strip()

    def _predicate(self) -> str:
        be = "are" if self.who.plural else "is"
        keep = f" {self.keep}" if self.keep else ""
        if self.stand:
            return "can't stand"
        if self.form == "used":
            return f"used to {self.lemma}"
        if self.form == "future":
            return f"will not {self.lemma}" if self.denied else f"{be} going to {self.lemma}"
        if self.form == "perfect":
            have, never = ("have" if self.who.plural else "has"), (" never" if self.never else "")
            verb = self.verb or ("been" if self.lemma == "be" else "")
            return f"{have}{' not' if self.negated else never}{keep} {verb}"
        if self.form == "ing" or self.lemma == "be":
            return self._predicate_be(be, keep)
        if self.form == "past":
            never = "never " if self.never else ""
            return f"did not {self.lemma}" if self.negated else f"{never}{self.verb}"
        verb = self.lemma if self.who.plural else third_person(self.lemma)
        if self.ceased:
            return f"no longer {verb}"
        if self.negated:
            return f"{'do' if self.who.plural else 'does'} not{keep} {self.lemma}"
        return f"{'never ' if self.never else ''}{keep.strip()} {verb}"

    def _predicate_be(self, be: str, keep: str) -> str:
        verb = "" if self.lemma == "be" else self.verb
        if self.form == "past":
            be = "were" if self.who.plural else "was"
        ceased = " no longer" if self.ceased else " never" if self.never else " not" if self.negated else ""
        return f"{be}{ceased}{keep} {verb}"


def read_body(
    who: Who, body: str, start: int, body_start: int, *, owner: str, before: Clause | None = None
) -> Clause | None:
    """The clause that `who` and `body` make; None for what may be and what is only wished ("could", "'d").

    owner: the speaker. before: the clause whose subject this one shares; a base form is then of its tense.
    """
    m = _BODY.match(body)
    if m is None:
        return None
    aux = " ".join((m["aux"] or "").lower().split())
    adverbs = f"{m['adv']}{m['adv2']}{m['adv3']}".lower()
    word = (m["verb"] or "").lower()
    shape = _shape(aux, word, m, who, before)
    if shape is None:
        return None
    form, lemma, verb = shape
    rest_start = m.end() if verb else m.start("verb") if m["verb"] else m.end()
    rest = body[rest_start:]
    said = adverbs.split()
    negated = aux.endswith(("n't", " not")) or "not" in said
    ceased = "longer" in said or (negated and bool(_NOT_ANY_MORE.search(rest[:160])))
    keep = _KEEP.search(adverbs) if said else None
    stand = aux.endswith("stand")
    return Clause(
        who,
        form,
        lemma,
        verb,
        rest,
        start,
        body_start + rest_start,
        negated=negated and not ceased and not stand,
        ceased=ceased,
        never="never" in said,
        keep=keep[0].lower() if keep else "",
        stand=stand,
        owner=owner,
        also="also" in said or bool(_AS_WELL.match(rest[:120])),
    )


def _shape(aux: str, word: str, m: re.Match[str], who: Who, before: Clause | None) -> tuple[Form, str, str] | None:
    """Tense, lemma and verb as said. An empty verb means "be" with its complement."""
    verb = VERBS.get(word)
    if aux.endswith("stand"):
        return ("present", "hate", "") if not word.endswith("by") else None
    if m["soon"] or aux.endswith("gonna"):
        return (
            ("future", verb.lemma if verb else word, m["verb"] or "")
            if aux in _BE or aux.endswith("gonna") or aux == "'s"
            else None
        )
    if aux == "'s":
        perfect = m["been"] or (verb and "pp" in verb.forms and word not in _ADJECTIVES)
        aux = "has" if perfect else "is"
    if aux in _BE:
        return ("ing", verb.lemma, m["verb"]) if verb and "ing" in verb.forms else ("present", "be", "")
    if aux in _WAS:
        return None if verb and "ing" in verb.forms else ("past", "be", "")
    if aux in _HAVE:
        return _perfect(verb, word, m)
    if aux.startswith("had"):
        return ("past", verb.lemma, m["verb"]) if verb and "pp" in verb.forms else None
    if aux in _WILL or aux == "used to":
        if not word:
            return None
        lemma = "be" if word == "be" else verb.lemma if verb else word
        return ("used" if aux == "used to" else "future"), lemma, m["verb"]
    if aux in _DO or aux in _DID:
        if verb is None or "base" not in verb.forms:
            return None
        return ("present" if aux in _DO else "past"), verb.lemma, m["verb"]
    if aux.startswith("can") and word == "speak":
        return "present", "speak", m["verb"]
    if aux:
        return None
    return _simple(verb, word, m, who, before)


def _perfect(verb: object, word: str, m: re.Match[str]) -> tuple[Form, str, str] | None:
    known = VERBS.get(word)
    if m["been"]:
        return (
            ("perfect", known.lemma, f"been {m['verb']}") if known and "ing" in known.forms else ("perfect", "be", "")
        )
    if word == "got":
        return "present", "have", m["verb"]
    if known and "pp" in known.forms:
        return "perfect", known.lemma, m["verb"]
    return None


def _simple(verb: object, word: str, m: re.Match[str], who: Who, before: Clause | None) -> tuple[Form, str, str] | None:
    known = VERBS.get(word)
    if (
        before is not None
        and (before.form == "ing" or before.lemma == "be")
        and word in ("allergic", "from", "a", "an")
    ):
        return "present", "be", ""
    if known is None:
        return None
    first = who.speaker or who.plural
    if before is not None:
        if before.form in ("future", "used") and "base" in known.forms:
            return before.form, known.lemma, m["verb"]
        if before.form in ("past", "perfect"):
            return ("past", known.lemma, m["verb"]) if "past" in known.forms else None
        if before.form == "ing" and "ing" in known.forms and before.lemma != "be":
            return "ing", known.lemma, m["verb"]
    if "base" in known.forms and "past" not in known.forms and first:
        return "present", known.lemma, m["verb"]
    if "past" in known.forms and not (first and "base" in known.forms and word in ("read", "put", "set")):
        return "past", known.lemma, m["verb"]
    if "s" in known.forms and not first:
        return "present", known.lemma, m["verb"]
    return None


_SOMEBODY_YET = re.compile(r"[^\w\n]*(?:these days|it turns out)\b", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[^\w\n]*([\w']+)")
# A sentence that begins so has no first clause that we read; further ones it may have.
_NOBODY = word_set("""
    that that's it it's you you're your what what's how there there's these those who if when where why do does did is
    are can could would thank any some maybe perhaps let let's
    """)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a clause begins. who is None for "my ..." that names no person, whose words follow from body_start."""

    who: Who | None
    start: int
    body_start: int
    my: bool = False
    owner: str | None = None  # of "my", where it is somebody else's
    ellipsis: bool = False
    third: bool = False  # a named or pronominal other


def heads(plain: str, start: int, end: int, *, speaker: str, antecedent: Antecedent) -> Iterator[Head]:
    """The beginnings of clauses in plain[start:end], in order."""
    first = start
    word = _FIRST_WORD.match(plain, start, end)
    nobody = word is None or (word[1].lower() in _NOBODY and not _SOMEBODY_YET.match(plain, start, end))
    bare = None if nobody else _BARE.match(plain, start, end)
    m = None if nobody or bare else _FIRST.match(plain, start, end)
    if m is None and bare:
        yield Head(Who(speaker, speaker=True), bare.start("verb"), bare.start("verb"))
        start = bare.end()
    while True:
        if m is not None:
            antecedent.said = plain[first : m.start()]
            head = _head(m, speaker, antecedent)
            if head is not None:
                yield head
            start = max(m.end(), m.start() + 1)
        joint = _CONNECTIVE.search(plain, start, end)
        if joint is None:
            return
        m = _SUBJECT_NEXT.match(plain, joint.end(), end)
        if m is None and (joint[0][0] == "," or "and" in joint[0] or "but" in joint[0]):
            m = _SHARED_NEXT.match(plain, joint.end(), end)
        start = joint.end()


def _head(m: re.Match[str], speaker: str, antecedent: Antecedent) -> Head | None:
    groups = m.groupdict()
    if groups.get("ellipsis") is not None:
        return Head(None, m.end(), m.end(), ellipsis=True)
    begin = m.start("lead") if groups.get("lead") else -1
    if groups["us"]:
        mate = _MATE.match(m["us"])
        who = Who(speaker, speaker=True, with_kin=(mate["name"] or mate["after"]) if mate else None)
        return Head(who, begin if begin >= 0 else m.start("us"), m.end())
    if groups["i"] or groups["we"]:
        name = "i" if groups["i"] else "we"
        return Head(Who(speaker, speaker=True), begin if begin >= 0 else m.start(name), m.end())
    if groups["my"]:
        return Head(None, m.start("my"), m.end(), my=True)
    if groups["has"]:
        return None if is_no_name(m["has"]) else Head(None, m.start("has"), m.end(), my=True, owner=m["has"])
    if groups["mykin"]:
        label, _ = kin_subject(speaker, m["mykin"], None)
        return Head(None, m.start("mykin") - 3, m.end(), my=True, owner=label)
    if groups["their"]:
        pronoun = {"his": "he", "her": "she"}.get(m["their"].lower(), "they")
        other = antecedent.resolve(pronoun)
        return Head(None, m.start("their"), m.end(), my=True, owner=other.text) if other else None
    if groups["pronoun"]:
        who_or_none = antecedent.resolve(m["pronoun"].lower())
        return Head(who_or_none, m.start("pronoun"), m.end(), third=True) if who_or_none else None
    return _named_head(m, speaker)


def _named_head(m: re.Match[str], speaker: str) -> Head | None:
    if m["kin1"]:
        label, _ = kin_subject(speaker, m["kin1"], None)
        mate = m["mate"].split()[-1]
        return Head(
            Who(f"{label} and {mate}", plural=True, pair=(label, mate)),
            max(0, m.start("kin1") - 3),
            m.end(),
            third=True,
        )
    if m["kin"]:
        text, plural = kin_subject(speaker, m["kin"], m["kinname"])
        begin = (
            m.start("kin") - 3
            if m.string[m.start("kin") - 3 : m.start("kin") - 1].lower() == "my"
            else m.start("kin") - 4
        )
        return Head(Who(text, plural=plural), max(0, begin), m.end(), third=True)
    if m["owner"]:
        if m["owner"].split()[0].lower() in NOT_PEOPLE:
            return None
        text, plural = kin_subject(m["owner"], m["ownedkin"], m["ownedname"])
        return Head(Who(text, plural=plural), m.start("owner"), m.end(), third=True)
    if m["appos"]:
        text, _ = kin_subject(speaker, m["apposkin"], m["appos"])
        return Head(Who(text), m.start("appos"), m.end(), third=True)
    name, other = m["name"], m["name2"]
    if is_no_name(name):
        return None
    if other:
        return Head(Who(f"{name} and {other}", plural=True, pair=(name, other)), m.start("name"), m.end(), third=True)
    return Head(Who(name), m.start("name"), m.end(), third=True)


_MATE = re.compile(
    rf"(?:(?:my|our)\s(?:{_KIN_NOUN}),?\s(?P<after>{_NAME}),?\sand\s|(?!(?:my|our|me)\b)(?P<name>{_NAME})\sand\s)",
    re.IGNORECASE,
)


def is_no_name(name: str) -> bool:
    first = name.split()[0].lower()
    return first in NOT_PEOPLE or first.endswith("ing") or "'" in first


def kin_subject(owner: str, kin: str, name: str | None) -> tuple[str, bool]:
    """ "Ann", "older sister", "Anna" -> "Ann's sister Anna". With a name, its age says nothing more."""
    kin = " ".join(kin.split()) if not kin.islower() else " ".join(kin.lower().split())
    kin = kin[:1].lower() + kin[1:]
    if name:
        kin = re.sub(r"^(?:(?:older|younger|little|big|oldest|youngest|eldest|elder|twin|old|new)[ -])+", "", kin)
    noun = kin.split()[-1]
    plural = noun in ("parents", "children", "kids", "grandparents", "in-laws", "siblings", "twins") or (
        noun.endswith("s") and not noun.endswith("ss") and noun not in ("boss",)
    )
    return f"{owner}'s {kin}{' ' + name if name else ''}", plural


_MENTION = re.compile(
    rf"\b(?:my|our|(?:have|has|had|got|met|adopted)\s+an?(?:\s+new)?)\s+{KIN_PHRASE}|"
    rf"(?<!\bin )(?<!\bat )(?<!\bto )(?<!from )(?<!near )(?<!\bof )(?<!\bfor )(?<!\bthe )"
    rf"(?<![\w'’-])(?P<person>{_NAME})(?:\sand\s(?P<person2>{_NAME}))?(?!\w)",
    re.IGNORECASE,
)


_NAMES_KIN = re.compile(
    rf"\b(?:(?:my|our)\s+(?P<kin>{_KIN_ADJECTIVE}{_KIN_NOUN})(?:'s\s+name\s+is|\s+is\s+(?:called|named)))\s+{_NAME}",
    re.IGNORECASE,
)
_FEW_WORDS = 4  # "Sorry, autocorrect." names nobody and does not lead away
_KIN_OF = re.compile(r"'s (?:\S+ )*?(\w+)(?: [A-Z]\w+)?$")
_GOES_ON = re.compile(r"\s*(?:and |but |so )?(?:he|she|they)\b", re.IGNORECASE)


class Antecedent:
    """Whom "he" and "she" can mean: the one person that the sentence before names, where there is exactly one."""

    def __init__(self, speaker: str, before: str = "") -> None:
        self._speaker = speaker
        self._behind = [before] if before else []
        self._fixed: Who | None = None
        self.said = ""  # of the sentence itself, before the pronoun

    def fix(self, who: Who) -> None:
        """From here on it is this person, whatever number the pronoun has."""
        self._fixed = who

    def moves_on(self, sentence: str) -> None:
        """The sentence is behind us."""
        self._behind.append(sentence)

    def resolve(self, pronoun: str) -> Who | None:
        if self._fixed:
            return self._fixed
        found = self._last_named()
        if found is None or (pronoun == "they") != found.plural:
            return None
        kin = _KIN_OF.search(found.text)
        noun = kin[1] if kin else ""
        if (pronoun == "he" and noun in SHE_KIN) or (pronoun == "she" and noun in HE_KIN):
            return None
        return found

    def _last_named(self) -> Who | None:
        """The one person of the last sentence that names any; sentences that begin with a pronoun are passed over."""
        if self.said and "'s " not in _NAMES_KIN.sub(" ", self.said):
            people = self._people(self.said)
            if people:
                return people[0] if len(people) == 1 else None
        for sentence in reversed(self._behind[-4:]):
            people = self._people(sentence)
            if people:
                return people[0] if len(people) == 1 else None
            if not _GOES_ON.match(sentence) and len(sentence.split()) > _FEW_WORDS:
                return None
        return None

    def _people(self, text: str) -> list[Who]:
        found: dict[str, Who] = {}
        if named := _NAMES_KIN.search(text):  # "my sister's name is Anna" is about one person
            label, plural = kin_subject(self._speaker, named["kin"], None)
            return [Who(label, plural=plural)]
        for m in _MENTION.finditer(text):
            if m["kin"]:
                label, plural = kin_subject(self._speaker, m["kin"], m["kinname"])
                found[label] = Who(label, plural=plural)
            elif m["person"] and not is_no_name(m["person"]) and m["person"] != self._speaker:
                if m["person2"]:
                    both = f"{m['person']} and {m['person2']}"
                    found[both] = Who(both, plural=True, pair=(m["person"], m["person2"]))
                else:
                    found[m["person"]] = Who(m["person"])
        return list(found.values())


def as_present(clause: Clause, words: str, offset: int) -> Clause | None:
    """ "stopped drinking coffee": the clause of the inner verb, in the present; None if it is no known verb.

    words: from the inner verb on, at `offset` in clause.rest.
    """
    m = re.match(r"\s*([\w-]+)", words)
    verb = VERBS.get(m[1].lower()) if m else None
    if m is None or verb is None or not {"ing", "base"} & verb.forms:
        return None
    return replace(
        clause,
        form="present",
        lemma=verb.lemma,
        verb=m[1],
        rest=words[m.end() :],
        rest_start=clause.rest_start + offset + m.end(),
        negated=False,
        ceased=False,
        never=False,
        keep="",
    )
