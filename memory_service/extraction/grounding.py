"""Where in a message the words are that a memory rests on, and whether the two say the same."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator
from datetime import datetime

import snowballstemmer
from rapidfuzz import fuzz

from memory_service.caches import forgettable

FUZZY_CUTOFF = 90.0  # of 100, rapidfuzz's partial ratio: a slip of the model, not other words
MIN_FUZZY_CHARS = 8  # below, one letter makes another word
MIN_CJK = "\u0e00"  # from Thai on, scripts that put no spaces between words

_SAME_MARKS = str.maketrans("‘’‚‛`´“”„«»‐‑‒–—−", "''''''\"\"\"\"\"------")
_SAME_CHARS = _SAME_MARKS | str.maketrans(
    "",
    "",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad",  # take no room
)
_NEGATIONS = """
    not no never none nobody nothing neither nor cannot without hardly barely stopped quit
    dont doesnt didnt isnt arent wasnt werent couldnt wouldnt shouldnt havent hasnt hadnt wont cant
    nicht kein keine nie pas jamais sans nunca jamás sin não sem non mai senza
"""
_DENYING_NOTHING = re.compile(
    r"\b(?:(?:can't|cannot|can not|cant) (?:wait|believe|help)|(?:couldn't|could not) agree more|not only"
    r"|(?:don't|do not|never) (?:worry|forget)|no (?:problem|worries|doubt|wonder)|why (?:not|don't)|nothing but)\b"
)
# Few on purpose: words such as "before", "more" and "her" tell two facts apart.
_STOP_WORDS = """
    a an the and or but of to in on at by for from with as that this it its is are was were be been being am
    do does did has have had will would i me my you your we us our yes yeah ok okay oh so very just really
    also too
"""
# What a rewriting brings along although nobody said it: the persons, and the words that join names and ages.
_FRAME = """
    she her hers he him his they them their theirs i me my mine we us our you your who whom whose which
    user assistant named called name old year age person now currently want
"""
_negation_words, _stop_words = frozenset(_NEGATIONS.split()), frozenset(_STOP_WORDS.split())

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_MULTIPLES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "k": 1000}
_VALUES = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_AMOUNT = re.compile(
    rf"(?P<digits>\d+(?:[.,:]\d+)*)(?:(?P<k>k)\b| (?P<times>hundred|thousand|million)\b)?"
    rf"|\b(?P<words>(?:{'|'.join(_VALUES)})(?:[ -](?:{'|'.join(_VALUES)}|hundred|thousand|million)){{0,8}})\b"
)

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?:1[89]|20)\d\d"
_DATE = re.compile(
    rf"\b(?:{_YEAR}-\d\d?(?:-\d\d?)?|\d\d?[./]\d\d?[./](?:\d\d){{1,2}}"
    rf"|\d\d?(?:st|nd|rd|th)?(?: of)? {_MONTH}\b(?:,? {_YEAR})?"
    rf"|{_MONTH} (?:\d\d?(?:st|nd|rd|th)?\b(?!:)(?:,? {_YEAR})?|{_YEAR})"
    rf"|(?:in|since|until|by|during|before|after|early|late|mid|spring|summer|autumn|fall|winter|jahre?|seit"
    rf"|en|depuis|desde|nel|em)(?: of)? {_YEAR}\b"
    r"(?! (?:euros?|dollars?|pounds?|people|words|miles|km)\b))|(?:\d{4})年(?:\d\d?月)?(?:\d\d?日)?|\d\d?月(?:\d\d?日)?"
)
_RELATIVE = re.compile(
    rf"\b(?:today|tonight|yesterday|tomorrow|ago|(?:mon|tues|wednes|thurs|fri|satur|sun)day|weekend|semester"
    rf"|(?:day|week|month|year|decade)s?|morning|afternoon|evening|night|spring|summer|autumn|winter|christmas|easter"
    rf"|birthday|(?:last|next|this|in|since|until|by|early|late|mid) may|(?!may\b){_MONTH}"
    r"|gestern|heute|morgen|letzte[nrsm]?|nächste[nrsm]?|hier|demain|derni[eè]re?|prochaine?|ayer|mañana|pasad[oa]"
    r"|próxim[oa]|ieri|domani|scors[oa]|ontem|amanhã|jahren?|ans|años?|anni|anos?)\b|[昨今明去翌]|先[日週月]|[上下][周週个個月]|来[年週月]"
)
_LONG_AGO = re.compile(r"\b(?:years|decades?|jahren?|ans|años|anni|anos)\b|年前")
_OPENER = (
    r"(?:i|i'\w+|you|you'\w+|we|we'\w+|he|he's|she|she's|it|it's|they|they'\w+|my|our|not|no|never|\w+n't"
    r"|but|and (?:i|i'\w+|we|he|she|it|they|you|my|our))\b"
)
_CLAUSE_END = re.compile(
    r"[.!?;:…。！？；，](?!\w)|[。！？；，]|\n|\b(?:but|however|because|although|though|whereas|while)\b"
    rf"|\b(?:no|nope|nah|not much|not really|not yet),|, *(?={_OPENER})|\b(?:and|so) (?={_OPENER})",
    re.IGNORECASE,
)


def ground(quote: str, content: str) -> tuple[int, int] | None:
    """The span of `content` that `quote` stands for, as (start, end) in characters, or None.

    Tried in this order: the very words; the same but for case, spaces, accents, quotation marks and dashes;
    nearly the same, if no number and no negation differs. A span begins and ends with whole words.
    """
    quote = quote.strip().strip("\"'“”‘’«»").strip()
    wanted, _ = _fold(quote)
    if not any(char.isalnum() for char in wanted):
        return None
    for start in _starts(quote, content):
        return start, start + len(quote)
    folded, origin = _fold(content)
    span = next(((i, i + len(wanted)) for i in _starts(wanted, folded)), None) or _near(wanted, folded)
    if span is None:
        return None
    start, end = origin[span[0]], origin[span[1] - 1] + 1
    while end < len(content) and unicodedata.combining(content[end]):  # an accent written after its letter
        end += 1
    return start, end


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning; pairs of characters where words are not spaced."""
    words: set[str] = set()
    for word in re.findall(r"\w+", _fold(text)[0]):
        if max(word) >= MIN_CJK:
            words.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _stop_words and (len(word) > 1 or word.isdigit()):
            words.add(_stem(word))
    return frozenset(words)


def numbers(text: str) -> list[str]:
    """The numbers in `text`, sorted."""
    return sorted(re.findall(r"\d+(?:[.,:]\d+)*", text))


def amounts(text: str) -> list[str]:
    """The numbers in `text`, in order and written one way: "9,000", "9k" and "nine thousand" are 9000.

    "one" alone is seldom a number.
    """
    found = []
    for match in _AMOUNT.finditer(text.casefold().translate(_SAME_CHARS)):
        if match["digits"]:
            digits = match["digits"]
            if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits):
                digits = digits.replace(",", "")
            digits = digits.replace(",", ".").removesuffix(":00")
            digits = re.sub(r"^0+(?=\d)", "", digits)
            times = _MULTIPLES.get(match["k"] or match["times"] or "", 1)
            whole = digits.isascii() and digits.isdigit() and len(digits) < 16
            found.append(str(int(digits) * times) if whole else digits)
        elif match["words"] != "one":
            found.append(str(_value(re.split("[ -]", match["words"]))))
    return found


def negations(text: str) -> int:
    """How many words of `text` deny. Covers English and the commonest words of five neighbours."""
    text = _DENYING_NOTHING.sub(" ", text.casefold().translate(_SAME_CHARS))
    words = re.findall(r"\w+(?:'\w+)?", text)
    return sum(word in _negation_words or word.endswith("n't") for word in words)


def telling_words(text: str, *, names: Collection[str] = ()) -> frozenset[str]:
    """The content words of `text` that must have been said by somebody.

    Left out: `names`, dates, numbers (unfounded_numbers looks at both), denials (see denies_otherwise), and what
    every rewriting brings along.
    """
    plain = _AMOUNT.sub(" ", _DATE.sub(" ", text.casefold().translate(_SAME_CHARS)))
    plain = re.sub(r"(?<=\w)'s\b|n't\b", " ", plain)
    return content_words(plain) - content_words(" ".join(names)) - _unsaid()


def unfounded_numbers(text: str, *sources: str, told_at: datetime | None = None) -> list[str]:
    """The numbers of `text` that `sources` do not hold, in digits or in words.

    told_at: when the sources were said, if a date in `text` may be counted from it: its own day, month and year
    are then founded, and those of other dates too where the sources say "last March" or the like. The year may
    differ by one, unless the sources speak of years. Whether the date is counted rightly is not examined.
    """
    folded = text.casefold().translate(_SAME_CHARS)
    held = [source.casefold().translate(_SAME_CHARS) for source in sources]
    founded = {amount for source in held for amount in amounts(source)}
    in_dates = founded | {part for source in held for part in _date_parts(source)}
    relative = told_at is not None and any(_RELATIVE.search(source) for source in held)
    any_year = any(_LONG_AGO.search(source) for source in held)
    if told_at:
        in_dates |= {str(part) for part in (told_at.year, told_at.month, told_at.day)}
    missing = [amount for amount in amounts(_DATE.sub(" ", folded)) if amount not in founded]
    for date in _DATE.findall(folded):
        for part in _date_parts(date):
            near = len(part) < 4 or any_year or (told_at is not None and abs(int(part) - told_at.year) <= 1)
            if part not in in_dates and not (relative and near):
                missing.append(part)
    return missing


def denies_otherwise(text: str, *clauses: str) -> bool:
    """Whether `text` denies what `clauses` affirm, or the reverse, as far as negations tell.

    Compared with the one clause that holds all the words of `text` which the clauses hold, else with those that
    share one, where they agree, else with the parity of all. So "I don't eat meat, but I love fish" bears
    "Ann loves fish" and not "Ann eats meat".
    """
    denies = negations(text) % 2
    said = [(telling_words(clause), negations(clause) % 2) for clause in clauses]
    shared = telling_words(text) & frozenset[str]().union(*(words for words, _ in said))
    if shared and (whole := {parity for words, parity in said if shared <= words}):
        return denies not in whole
    related = {parity for words, parity in said if shared & words or not shared}
    if related == {denies}:
        return False
    return denies != sum(negations(clause) for clause in clauses) % 2


def clauses(content: str, start: int = 0, end: int | None = None) -> list[str]:
    """The clauses of `content` that reach into [start, end): whole ones, so that no "don't" is cut off."""
    plain = content.translate(_SAME_MARKS)  # keeps the length
    edges = [0, *(match.end() for match in _CLAUSE_END.finditer(plain)), len(content)]
    end = len(content) if end is None else end
    pieces = [(a, b) for a, b in itertools.pairwise(edges) if a < end and start < b]
    return [content[a:b] for a, b in pieces if any(map(str.isalnum, content[a:b]))]


def names_in(text: str) -> frozenset[str]:
    """Stems of the words that begin with a capital: the names that context may put for "she" and "it"."""
    return content_words(" ".join(word for word in re.findall(r"\w+", text) if word[0].isupper()))


def _value(words: list[str]) -> int:
    total, group = 0, 0
    for word in words:
        if word in _VALUES:
            group += _VALUES[word]
        elif word == "hundred":
            group *= 100
        else:
            total, group = total + group * _MULTIPLES[word], 0
    return total + group


def _date_parts(text: str) -> list[str]:
    """Digits of dates, and months by number."""
    months = [str(_MONTHS.index(month[:3]) + 1) for month in re.findall(rf"\b{_MONTH}\b", text)]
    return [*(part.lstrip("0") or "0" for part in re.findall(r"\d+", text)), *months]


@functools.cache
def _unsaid() -> frozenset[str]:
    return content_words(_FRAME) | content_words(" ".join(_negation_words - {"stopped", "quit", "hardly", "barely"}))


def _starts(wanted: str, text: str) -> Iterator[int]:
    """Where `wanted` stands in `text` as whole words."""
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _joined(text[at - 1 : at], wanted[0]) and not _joined(wanted[-1], text[end : end + 1]):
            yield at
        at = text.find(wanted, at + 1)


def _joined(left: str, right: str) -> bool:
    """Whether two neighbouring characters are inside one word."""
    return left.isalnum() and right.isalnum() and max(left, right) < MIN_CJK


def _near(wanted: str, text: str) -> tuple[int, int] | None:
    if len(wanted) < MIN_FUZZY_CHARS:
        return None
    if len(wanted) > len(text):  # partial ratio would look for the text in the quote
        span = (0, len(text)) if fuzz.ratio(wanted, text) >= FUZZY_CUTOFF else None
    else:
        found = fuzz.partial_ratio_alignment(wanted, text, score_cutoff=FUZZY_CUTOFF)
        span = _whole_words(wanted, text, found.dest_start, found.dest_end) if found else None
    if span is None:
        return None
    matched = text[slice(*span)]
    same = numbers(wanted) == numbers(matched) and negations(wanted) == negations(matched)
    return span if same else None


def _whole_words(wanted: str, text: str, start: int, end: int) -> tuple[int, int]:
    """The span of whole words around [start, end) that is most like `wanted`.

    An alignment is as long as what was wanted, so where letters were lost or added it is off by a word at
    either end.
    """
    words = [match.span() for match in re.finditer(r"\w+", text)]
    first = next((i for i, word in enumerate(words) if word[1] > start), len(words) - 1)
    last = next((i for i in range(len(words) - 1, -1, -1) if words[i][0] < end), 0)
    starts = [word[0] for word in words[max(0, first - 1) : first + 2]]
    ends = [word[1] for word in words[max(0, last - 1) : last + 2]]
    if not _joined(text[start - 1 : start], text[start]):
        starts.append(start)
    if not _joined(text[end - 1], text[end : end + 1]):
        ends.append(end)
    spans = [(s, e) for s in starts for e in ends if s < e]
    return max(spans, key=lambda span: fuzz.ratio(wanted, text[slice(*span)]), default=(start, end))


@forgettable(maxsize=64)
def _fold(text: str) -> tuple[str, tuple[int, ...]]:
    """`text` without what does not matter, and for each character kept the index it had.

    Cached: every fact of an answer is looked for in the same few messages.
    """
    folded: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        if char.isspace():
            if folded and folded[-1] != " ":
                folded.append(" ")
                origin.append(index)
            continue
        for part in unicodedata.normalize("NFKD", char.translate(_SAME_CHARS)).casefold():
            if not unicodedata.combining(part):
                folded.append(part)
                origin.append(index)
    if folded and folded[-1] == " ":
        folded.pop()
        origin.pop()
    return "".join(folded), tuple(origin)


@forgettable(maxsize=20_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@functools.cache
def _stemmer() -> snowballstemmer.EnglishStemmer:
    return snowballstemmer.stemmer("english")
