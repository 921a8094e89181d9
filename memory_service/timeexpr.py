"""Time expressions in English text, resolved against the moment the text was said.

One master pattern finds the places (microseconds a message); the rule that matched resolves them. Dates with
a month name of another language go to dateparser, which costs milliseconds: imported late and cached.
Weeks begin on Monday, seasons are the northern ones, and 07/05/2023 is read day first where that is possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal, NamedTuple

from memory_service.caches import forgettable

Grain = Literal["minute", "hour", "daypart", "day", "week", "weekend", "month", "season", "year", "decade"]


@dataclass(frozen=True, slots=True)
class TimeExpression:
    """`text` is what stands at [start, end); it means the half-open interval [begin, finish).

    relative: the words alone do not give the date. vague: the interval is a guess ("a few years ago").
    """

    text: str
    start: int
    end: int
    begin: datetime
    finish: datetime
    grain: Grain
    relative: bool
    vague: bool = False


class _Span(NamedTuple):
    """A resolved interval on the reference's own clock, without its zone."""

    begin: datetime
    finish: datetime
    grain: Grain
    vague: bool = False


MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SEASON_MONTH = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_PART_HOURS = {"morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}
_COUNTS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40,
    "fifty": 50,
}  # fmt: skip
_VAGUE_COUNTS = {"couple": 2, "few": 3, "several": 5}
_HOLIDAYS = {
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "new year's eve": (12, 31),
    "new year's day": (1, 1), "new year's": (1, 1), "halloween": (10, 31), "valentine's day": (2, 14),
    "valentine's": (2, 14), "4th of july": (7, 4), "fourth of july": (7, 4), "independence day": (7, 4),
}  # fmt: skip

# "may" and "march" are verbs, "sat" and "sun" are words: only their capitalised forms count without a cue.
_MONTH_LONG = (
    r"(?:january|february|(?-i:March|MARCH)|april|(?-i:May|MAY)|june|"
    r"july|august|september|october|november|december)"
)
_MONTH = rf"(?:{_MONTH_LONG}|(?-i:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.?)"
_MONTH_CUED = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_WEEKDAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_WEEKDAY_ABBR = rf"(?:{_WEEKDAY}|(?-i:Mon|Tues|Tue|Wed|Thurs|Thur|Thu|Fri|Sat|Sun)\b)"
_SEASON = r"(?:spring|summer|autumn|fall|winter)"
_HOLIDAY = "(?:" + "|".join(sorted(_HOLIDAYS, key=len, reverse=True)) + "|thanksgiving(?: day)?)"
_YEAR = r"(?:1[5-9]|20|21)\d\d(?![\d,:%]|\.\d)"
_COUNT = (
    r"(?:\d{1,4}|an?\s+(?:few|couple(?:\s+of)?)|few|several|couple(?:\s+of)?"
    r"|eleven|twelve|fifteen|twenty|thirty|forty|fifty|one|two|three|"
    r"four|five|six|seven|eight|nine|ten|an?)"
)
_UNIT = r"(?:minute|hour|day|night|weekend|week|fortnight|month|year|decade)"
_CLOCK = r"(?:\s+at\s+(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s?(?P<half>[ap]\.?m\b\.?)?(?![\d:%]))"
_ORDINAL = r"(?:st|nd|rd|th)"
_DATE = (
    rf"(?:(?:the\s+)?\d{{1,2}}{_ORDINAL}?(?:\s+of)?\s+{_MONTH}(?:,?\s+{_YEAR})?"
    rf"|{_MONTH}\s+(?:the\s+)?\d{{1,2}}{_ORDINAL}?(?![\d:%])(?:,?\s+{_YEAR})?|\d{{4}}-\d\d-\d\d)"
)

# The nearest of these words to a bare "Friday" or "in March" says whether it is behind or ahead.
_FUTURE_CUE = (
    r"will|won't|\w+'ll|going\s+to|gonna|wanna|want|wants|plan|plans|"
    r"planning|hope|hopes|hoping|can't\s+wait"
    r"|looking\s+forward|let's|should|shall|can|could|must|need|needs|"
    r"have\s+to|has\s+to|see\s+you|upcoming|due"
    r"|deadline|appointment|until|is|are|am|i'm|we're|they're|he's|she's|"
    r"it's|you're|starts|leaves|begins|does"
)
_PAST_CUE = (
    r"was|were|wasn't|weren't|did|didn't|had|hadn't|went|got|came|saw|"
    r"took|made|met|ate|bought|found|won|lost|said|told|gave|"
    r"had|left|began|became|thought|brought|felt|kept|knew|ran|read|rode|"
    r"sang|sat|sent|sold|spent|spoke|swam|wrote"
    r"|drove|flew|fell|caught|built|broke|chose|drew|drank|held|heard|"
    r"hit|hurt|led|lit|paid|quit|rang|slept|stood|taught|threw"
    r"|woke|wore|been|done|gone|since|back\s+in|just|i've|we've|(?!need)\w{3,}ed"
)
_TENSE = re.compile(rf"\b(?:(?P<past>{_PAST_CUE})|(?P<future>{_FUTURE_CUE}))\b", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[.!?;\n]")


def _month_number(name: str) -> int:
    return next(i for i, month in enumerate(MONTHS, 1) if month.lower().startswith(name.lower().rstrip(".")[:3]))


def _weekday_number(name: str) -> int:
    return next(i for i, day in enumerate(_WEEKDAYS) if day.startswith(name.lower()[:3]))


def _count(words: str) -> tuple[int, bool]:
    """The number that the words say, and whether it is vague ("a few")."""
    parts = words.lower().split()
    for part in parts:
        if part in _VAGUE_COUNTS:
            return _VAGUE_COUNTS[part], True
    return (int(parts[0]) if parts[0].isdigit() else _COUNTS[parts[0]]), False


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _day(day: date) -> _Span:
    return _Span(_midnight(day), _midnight(day + timedelta(days=1)), "day")


def _part_of_day(day: date, part: str) -> _Span:
    first, last = _PART_HOURS[part]
    midnight = _midnight(day)
    return _Span(midnight + timedelta(hours=first), midnight + timedelta(hours=last), "daypart")


def _week(day: date) -> _Span:
    monday = day - timedelta(days=day.weekday())
    return _Span(_midnight(monday), _midnight(monday + timedelta(days=7)), "week")


def _weekend(day: date) -> _Span:
    """The weekend of the week that `day` is in."""
    saturday = day + timedelta(days=5 - day.weekday())
    return _Span(_midnight(saturday), _midnight(saturday + timedelta(days=2)), "weekend")


def _months(year: int, month: int, num_months: int, grain: Grain) -> _Span:
    """The interval of num_months from the month; month may be out of 1..12 and carries over into the year."""
    first, last = year * 12 + month - 1, year * 12 + month - 1 + num_months
    return _Span(datetime(first // 12, first % 12 + 1, 1), datetime(last // 12, last % 12 + 1, 1), grain)


def _month(year: int, month: int) -> _Span:
    return _months(year, month, 1, "month")


def _year(year: int) -> _Span:
    return _months(year, 1, 12, "year")


def _season(year: int, name: str) -> _Span:
    return _months(year, _SEASON_MONTH[name.lower()], 3, "season")


def _holiday(year: int, name: str) -> _Span:
    if name.lower().startswith("thanksgiving"):
        first = date(year, 11, 1)
        return _day(first + timedelta(days=(3 - first.weekday()) % 7 + 21))
    month, day = _HOLIDAYS[name.lower()]
    return _day(date(year, month, day))


def _at_clock(span: _Span, m: re.Match[str]) -> _Span:
    """Narrow a day to the minute, where the match names a clock time that is one."""
    groups = m.groupdict()
    if not groups.get("hour"):
        return span
    hour, minute, half = int(groups["hour"]), int(groups["minute"] or 0), groups["half"]
    if half:
        hour = hour % 12 + (12 if half.lower().startswith("p") else 0)
    if hour > 23 or minute > 59:
        return span
    begin = _midnight(span.begin.date()) + timedelta(hours=hour, minutes=minute)
    return _Span(begin, begin + timedelta(minutes=1), "minute")


def _tense(m: re.Match[str]) -> int:
    """-1 past, 1 future, 0 unsure: by the tense cue nearest to the match in its own sentence."""
    text = m.string
    before, after = text[max(0, m.start() - 80) : m.start()], text[m.end() : m.end() + 50]
    before = _CLAUSE_END.split(before)[-1]
    after = _CLAUSE_END.split(after, maxsplit=1)[0]
    cues = [(len(before) - cue.end(), cue) for cue in _TENSE.finditer(before)]
    # A verb after the time is weaker evidence than one before it, but "on Friday I went" has no other.
    cues += [(cue.start() + 20, cue) for cue in _TENSE.finditer(after)]
    if not cues:
        return 0
    nearest = min(cues, key=lambda pair: pair[0])[1]
    return -1 if nearest["past"] else 1


def _by_tense(m: re.Match[str], spans: list[_Span], now: datetime, *, default: int) -> _Span:
    """Of spans in order of time: the last one begun (past) or the first one not over (future)."""
    tense = _tense(m) or default
    if tense < 0:
        return ([s for s in spans if s.begin <= now] or spans[:1])[-1]
    if tense > 0:
        return ([s for s in spans if s.finish > now] or spans[-1:])[0]
    return min(spans, key=lambda s: abs(s.begin - now))


def _around(year: int, build: Callable[[int], _Span]) -> list[_Span]:
    """The yearly spans of last year, this year and next year that exist (29 February, year 9999)."""
    spans = []
    for candidate in (year - 1, year, year + 1):
        try:
            spans.append(build(candidate))
        except (ValueError, OverflowError):
            continue
    return spans


def _resolve_date(fragment: str, m: re.Match[str], now: datetime) -> _Span | None:
    """A day and a month, with or without a year, in either order."""
    if iso := re.match(r"(\d{4})-(\d\d)-(\d\d)", fragment):
        return _day(date(int(iso[1]), int(iso[2]), int(iso[3])))
    name = re.search(rf"\b{_MONTH}", fragment, re.IGNORECASE)
    numbers = [int(n) for n in re.findall(r"\d+", fragment)]
    if name is None or not numbers:
        return None
    month = _month_number(name[0])
    if len(numbers) > 1:
        return _day(date(numbers[1], month, numbers[0]))
    spans = _around(now.year, lambda year: _day(date(year, month, numbers[0])))
    return _by_tense(m, spans, now, default=0) if spans else None


def _rule_iso(m: re.Match[str], now: datetime) -> _Span | None:
    day = _day(date(int(m["y"]), int(m["m"]), int(m["d"])))
    if m["h"] is None or int(m["h"]) > 23 or int(m["min"]) > 59:
        return day
    begin = day.begin + timedelta(hours=int(m["h"]), minutes=int(m["min"]))
    return _Span(begin, begin + timedelta(minutes=1), "minute")


def _rule_slash(m: re.Match[str], now: datetime) -> _Span | None:
    day, month, year = int(m["a"]), int(m["b"]), int(m["y"])
    if month > 12:
        day, month = month, day
    if year < 100:
        year += 2000 if year < 70 else 1900
    return _day(date(year, month, day))


def _rule_date(m: re.Match[str], now: datetime) -> _Span | None:
    span = _resolve_date(m["date"], m, now)
    return _at_clock(span, m) if span else None


def _rule_anchored(m: re.Match[str], now: datetime) -> _Span | None:
    """ "the week before 9 June", "two days after May 7th", "the weekend of 3 June"."""
    anchor = _resolve_date(m["date"], m, now)
    if anchor is None:
        return None
    number, _ = _count(m["count"] or "one")
    sign = {"before": -1, "after": 1, "of": 0}[m["side"].lower()]
    unit = m["unit"].lower()
    if unit in _WEEKDAYS:
        gap = (anchor.begin.weekday() - _weekday_number(unit)) % 7 or 7
        return _day(anchor.begin.date() + timedelta(days=-gap if sign < 0 else (7 - gap) or 7))
    return _shifted(anchor.begin, sign * number, unit)


def _rule_month_year(m: re.Match[str], now: datetime) -> _Span | None:
    return _month(int(m["y"]), _month_number(m["month"]))


def _rule_month_of(m: re.Match[str], now: datetime) -> _Span | None:
    """ "May last year", "July of this year"."""
    shift = {"last": -1, "this": 0, "next": 1}[m["which"].lower()]
    return _month(now.year + shift, _month_number(m["month"]))


def _rule_in_month(m: re.Match[str], now: datetime) -> _Span | None:
    month = _month_number(m["month"])
    return _by_tense(m, _around(now.year, lambda year: _month(year, month)), now, default=-1)


def _rule_season_year(m: re.Match[str], now: datetime) -> _Span | None:
    return _season(int(m["y"]), m["season"])


def _rule_in_year(m: re.Match[str], now: datetime) -> _Span | None:
    return _year(int(m["y"]))


def _rule_decade(m: re.Match[str], now: datetime) -> _Span | None:
    digits = m["decade"]
    year = int(digits) if len(digits) == 4 else int(digits) + (1900 if int(digits) > 20 else 2000)
    return _months(year, 1, 120, "decade")


def _rule_day_word(m: re.Match[str], now: datetime) -> _Span | None:
    word = " ".join(m["word"].lower().split()).removesuffix("'s")
    shift = {
        "the day before yesterday": -2, "day before yesterday": -2, "yesterday": -1, "last night": -1,
        "today": 0,
        "tonight": 0, "tomorrow": 1, "day after tomorrow": 2, "the day after tomorrow": 2,
    }.get(word, 0)  # fmt: skip
    part = m["part"] or {"last night": "night", "tonight": "night"}.get(word) or m["thispart"]
    day = now.date() + timedelta(days=shift)
    return _at_clock(_part_of_day(day, part.lower()) if part else _day(day), m)


def _shift_year_span(now: datetime, shift: int, build: Callable[[int], _Span]) -> _Span | None:
    """The shift-th yearly span before (negative) or after now; 0 is this calendar year's."""
    if shift == 0:
        return build(now.year)
    spans = [build(year) for year in range(max(2, now.year - 3), min(9998, now.year + 3) + 1)]
    behind = [s for s in spans if s.finish <= now]
    ahead = [s for s in spans if s.begin > now]
    index = len(behind) + shift if shift < 0 else shift - 1
    side = behind if shift < 0 else ahead
    return side[index] if 0 <= index < len(side) else None


def _shift_weekday(today: date, shift: int, name: str, *, past: bool) -> _Span:
    """ "last Friday" is the latest one before today, "next Friday" the first one more than two days away."""
    ahead = (_weekday_number(name) - today.weekday()) % 7
    if shift < 0:
        days = (ahead or 7) - 7 if ahead else -7
        return _day(today + timedelta(days=days + 7 * (shift + 1)))
    if shift == 0:
        return _day(today + timedelta(days=ahead - 7 if past and ahead else ahead))
    return _day(today + timedelta(days=(ahead if ahead > 2 else ahead + 7) + 7 * (shift - 1)))


def _shift_unit(now: datetime, shift: int, unit: str, m: re.Match[str]) -> _Span | None:
    """The week, month, Friday, March, summer, Christmas ... that is `shift` of its kind away."""
    unit, today = " ".join(unit.lower().split()), now.date()
    if unit in ("day", "week", "weekend", "month", "year", "decade"):
        return _shifted(now, shift, unit)
    if any(day.startswith(unit[:3]) for day in _WEEKDAYS):
        return _shift_weekday(today, shift, unit, past=_tense(m) < 0)
    if unit in _SEASON_MONTH:
        return _shift_year_span(now, shift, lambda year: _season(year, unit))
    if unit in _HOLIDAYS or unit.startswith("thanksgiving"):
        return _shift_year_span(now, shift, lambda year: _holiday(year, unit))
    return _shift_year_span(now, shift, lambda year: _month(year, _month_number(unit)))


def _rule_which(m: re.Match[str], now: datetime) -> _Span | None:
    """ "last week", "this past Saturday", "next May"."""
    which = m["which"].lower().split()[-1]
    shift = {"last": -1, "past": -1, "previous": -1, "this": 0}.get(which, 1)
    span = _shift_unit(now, shift, m["unit"].removesuffix("'s"), m)
    part = m["part"]
    return _part_of_day(span.begin.date(), part.lower()) if span and part and span.grain == "day" else span


def _rule_before_last(m: re.Match[str], now: datetime) -> _Span | None:
    return _shift_unit(now, -2 if m["side"].lower() == "before last" else 2, m["unit"], m)


def _shifted(now: datetime, number: int, unit: str) -> _Span | None:
    """The span of the unit's own grain `number` units away."""
    unit = unit.lower()
    if unit in ("minute", "hour"):
        begin = now + number * (timedelta(minutes=1) if unit == "minute" else timedelta(hours=1))
        width = timedelta(minutes=1) if unit == "minute" else timedelta(hours=1)
        return _Span(
            begin.replace(second=0, microsecond=0),
            begin.replace(second=0, microsecond=0) + width,
            "hour" if unit == "hour" else "minute",
        )
    if unit in ("day", "night"):
        day = now.date() + timedelta(days=number)
        return _part_of_day(day, "night") if unit == "night" else _day(day)
    if unit in ("week", "fortnight", "weekend"):
        day = now.date() + timedelta(days=number * (14 if unit == "fortnight" else 7))
        return _weekend(day) if unit == "weekend" else _week(day)
    if unit == "month":
        return _month(now.year, now.month + number)
    if unit == "decade":
        return _months((now.year // 10 + number) * 10, 1, 120, "decade")
    return _year(now.year + number)


def _blur(span: _Span, number: int) -> _Span:
    """Widen a vague span by half of its distance either way, at least by its own length."""
    width = max(span.finish - span.begin, (span.finish - span.begin) * (number // 2))
    return _Span(span.begin - width, span.finish + width, span.grain, True)


def _rule_ago(m: re.Match[str], now: datetime) -> _Span | None:
    number, vague = _count(m["count"])
    unit = m["unit"].lower()
    if m["half"] and unit in ("year", "decade"):
        unit, number, vague = "month", number * (12 if unit == "year" else 120) * 3 // 2, True
    if unit == "decade":
        unit, number, vague = "year", number * 10, True
    span = _shifted(now, -number, unit)
    return _blur(span, number) if span and (vague or m["about"]) else span


def _rule_weekdays_ago(m: re.Match[str], now: datetime) -> _Span | None:
    return _shift_weekday(now.date(), -_count(m["count"])[0], m["unit"], past=True)


def _rule_ahead(m: re.Match[str], now: datetime) -> _Span | None:
    """ "in three days", which after a past tense means how long something took."""
    if not m["sure"] and _tense(m) < 0:
        return None
    number, vague = _count(m["count"])
    span = _shifted(now, number, m["unit"])
    return _blur(span, number) if span and vague else span


def _rule_weekday(m: re.Match[str], now: datetime) -> _Span | None:
    tense, today = _tense(m), now.date()
    ahead = (_weekday_number(m["unit"]) - today.weekday()) % 7
    back = ahead - 7 if ahead else 0
    day = today + timedelta(days=ahead if tense > 0 else back)
    return _at_clock(_part_of_day(day, m["part"].lower()) if m["part"] else _day(day), m)


def _rule_the_weekend(m: re.Match[str], now: datetime) -> _Span | None:
    tense = _tense(m)
    if not tense:
        return None
    begun = now.date().weekday() >= 5
    return _weekend(now.date() - timedelta(days=0 if tense > 0 or begun else 7))


def _rule_the_nth(m: re.Match[str], now: datetime) -> _Span | None:
    """ "on the 15th": of the month before, this or next, whichever the tense asks for."""
    spans = []
    for shift in (-1, 0, 1):
        first = _month(now.year, now.month + shift).begin.date()
        with_day = first + timedelta(days=int(m["d"]) - 1)
        if with_day.month == first.month:
            spans.append(_day(with_day))
    return _by_tense(m, spans, now, default=-1) if spans else None


@forgettable(maxsize=4096)
def _parse_foreign(fragment: str) -> date | None:
    """Ask dateparser, which tries seven languages and takes milliseconds."""
    import dateparser

    found = dateparser.parse(
        fragment,
        languages=["de", "fr", "es", "it", "pt", "nl", "sv"],
        settings={"REQUIRE_PARTS": ["day", "month", "year"]},
    )
    return found.date() if found else None


def _rule_foreign(m: re.Match[str], now: datetime) -> _Span | None:
    day = _parse_foreign(m[0].lower())
    return _day(day) if day else None


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    pattern: re.Pattern[str]
    resolve: Callable[[re.Match[str], datetime], _Span | None]
    relative: bool


def _rule(
    name: str, pattern: str, resolve: Callable[[re.Match[str], datetime], _Span | None], *, relative: bool
) -> _Rule:
    return _Rule(name, re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), resolve, relative)


_PART = r"(?: (?:in the )?(?P<part>morning|afternoon|evening|night)(?!s))?"
_RULES = (
    _rule(
        "iso",
        (
            r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T\s](?P<h>\d\d):(?P<min>\d\d)(?::\d\d)?)?(?!\d"
            r")"
        ),
        _rule_iso,
        relative=False,
    ),
    _rule(
        "slash",
        r"(?P<a>\d{1,2})(?P<sep>[/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)(?![\d/.]\d)(?!\d)",
        _rule_slash,
        relative=False,
    ),
    _rule(
        "anchored",
        (
            rf"(?:the |a )?(?:(?P<count>{_COUNT}) )?(?P<unit>day|week|weekend|"
            rf"month|year|{_WEEKDAY})s? (?P<side>before|after|of) (?P<date>{_DATE})(?!\w)"
        ),
        _rule_anchored,
        relative=True,
    ),
    _rule("date", rf"(?:{_WEEKDAY_ABBR},? )?(?P<date>{_DATE})(?!\w){_CLOCK}?", _rule_date, relative=False),
    _rule(
        "foreign",
        (
            rf"\d{{1,2}}\.? (?:de )?(?!of\b|{_MONTH}(?!\w))[^\W\d_]{{3,10}}\.? "
            rf"(?:de )?(?:19|20)\d\d(?!\w)"
        ),
        _rule_foreign,
        relative=False,
    ),
    _rule(
        "month_of",
        rf"(?P<month>{_MONTH})(?: of)? (?P<which>last|this|next) year(?!\w)",
        _rule_month_of,
        relative=True,
    ),
    _rule("month_year", rf"(?P<month>{_MONTH})(?:,| of)? (?P<y>{_YEAR})(?!\w)", _rule_month_year, relative=False),
    _rule(
        "season_year",
        rf"(?P<season>{_SEASON})(?: of)? (?P<y>{_YEAR})(?!\w)",
        _rule_season_year,
        relative=False,
    ),
    _rule(
        "before_last",
        (
            rf"the (?P<unit>week|weekend|month|year|{_WEEKDAY}|{_SEASON}) (?P<side>before "
            rf"last|after next)(?!\w)"
        ),
        _rule_before_last,
        relative=True,
    ),
    _rule(
        "day_word",
        (
            rf"(?P<word>(?:the )?day before yesterday|(?:the )?day after tomorrow|"
            rf"last night(?:'s)?|tonight(?:'s)?|yesterday(?:'s)?|tomorrow(?:'s)?|"
            rf"today(?!'s)|this (?P<thispart>morning|afternoon|evening)(?:'s)?)(?![\w-]){_PART}{_CLOCK}"
            rf"?(?!\w)"
        ),
        _rule_day_word,
        relative=True,
    ),
    _rule(
        "which",
        (
            rf"(?<!\bthe\x20)(?P<which>this past|this coming|last|past|previous|"
            rf"next|coming|upcoming|this) (?P<unit>week(?!day)|weekend|month|year|"
            rf"decade|{_WEEKDAY_ABBR}|{_MONTH_CUED}|{_SEASON}|{_HOLIDAY})(?:'s)?(?![\w-]){_PART}"
        ),
        _rule_which,
        relative=True,
    ),
    _rule(
        "ago",
        (
            rf"(?:(?P<about>about|around|almost|nearly|over|more than|roughly|"
            rf"like) )?(?P<count>{_COUNT}) (?P<unit>{_UNIT})s?(?P<half> and a "
            rf"half)? (?:ago|back)(?!\w)"
        ),
        _rule_ago,
        relative=True,
    ),
    _rule(
        "weekdays_ago",
        rf"(?P<count>{_COUNT}) (?P<unit>{_WEEKDAY})s ago(?!\w)",
        _rule_weekdays_ago,
        relative=True,
    ),
    _rule(
        "from_now",
        (
            rf"(?P<count>{_COUNT}) (?P<unit>{_UNIT})s? (?P<sure>from now|from "
            rf"today)(?!\w)"
        ),
        _rule_ahead,
        relative=True,
    ),
    _rule(
        "ahead",
        (
            rf"in (?:about |around |another |just |only )?(?P<count>{_COUNT}) "
            rf"(?P<unit>{_UNIT})(?:s'|'s|s)?(?P<sure> time)?(?![\w-]| (?:or|and|"
            rf"of|a|an)\b)"
        ),
        _rule_ahead,
        relative=True,
    ),
    _rule("the_weekend", r"(?:over|on|at|during) the weekend(?!\w)(?! of)", _rule_the_weekend, relative=True),
    _rule(
        "the_nth",
        (
            rf"on the (?P<d>[12]?\d|3[01]){_ORDINAL}(?=\s*(?:[.,!?;:)]|$)| (?:and|"
            rf"at|for|with|to|after|before|from|so|because|when|I|we)\b)"
        ),
        _rule_the_nth,
        relative=True,
    ),
    _rule(
        "weekday",
        (
            rf"(?:on )?(?<!black\x20)(?<!good\x20)(?<!every\x20)(?<!each\x20)(?<!'s\x20)(?P<unit>(?-i"
            rf":Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)|(?<=on\x20){_WEEKDAY})(?!['"
            rf"’\w-]){_PART}{_CLOCK}?(?!\w)"
        ),
        _rule_weekday,
        relative=True,
    ),
    _rule(
        "in_month",
        (
            rf"(?:in|during|since|until|till|by|for|around|back in|early|late|"
            rf"mid)(?: early| late| mid)?[\s-](?P<month>{_MONTH_LONG}|{_MONTH_CUED}(?=[.,!?;)]|"
            rf"$))(?![\w'’])(?! \d)"
        ),
        _rule_in_month,
        relative=False,
    ),
    _rule(
        "in_year",
        (
            rf"(?:in|since|during|by|until|around|of|from|before|after|back in|"
            rf"year) (?P<y>{_YEAR})(?![\w-])"
        ),
        _rule_in_year,
        relative=False,
    ),
    _rule(
        "decade",
        r"the (?:early |late |mid-?\s?)?(?:')?(?P<decade>(?:19|20)?\d0)'?s(?!\w)",
        _rule_decade,
        relative=False,
    ),
)
_BY_NAME = {rule.name: rule for rule in _RULES}


def _without_names(pattern: str) -> str:
    """Group names may not repeat in one pattern; the rule's own pattern reads them afterwards."""
    return re.sub(r"\(\?P=\w+\)", "[/.]", re.sub(r"\(\?P<\w+>", "(?:", pattern))


_MASTER = re.compile(
    r"(?<![\w./-])(?:" + "|".join(f"(?P<{r.name}>{_without_names(r.pattern.pattern)})" for r in _RULES) + ")",
    re.IGNORECASE,
)
# Whatever the master pattern can match has one of these in it; most messages have none and stop here.
_GATE = re.compile(
    r"\d|\bago\b|\bback\b|days?\b|hours?\b|minutes?\b|week|month|year|"
    r"decade|night|tomorrow|morning|afternoon|evening|spring|summer|autumn|"
    r"fall"
    r"|winter|christmas|new year|halloween|valentine|thanksgiving"
    r"|january|february|march|april|\bmay\b|june|july|august|september|october|november|december"
    r"|\b(?:last|next|this|past|coming)\s+(?:mon|tue|wed|thu|fri|sat|sun)",
    re.IGNORECASE,
)


def find_time_expressions(text: str, *, reference: datetime) -> list[TimeExpression]:
    """The time expressions of the text in their order, none overlapping; [] where there is none.

    reference: when the text was said; the results are on its clock and carry its tzinfo.
    What would fall outside of years 1 to 9999 is left out.
    """
    if _GATE.search(text) is None:
        return []
    plain = text.replace("’", "'")
    now, found = reference.replace(tzinfo=None), []
    position = 0
    while (m := _MASTER.search(plain, position)) is not None:
        expression = _resolve(text, plain, m, now, reference)
        if expression is not None:
            found.append(expression)
        position = m.end()
    return found


def _resolve(text: str, plain: str, m: re.Match[str], now: datetime, reference: datetime) -> TimeExpression | None:
    rule = _BY_NAME[str(m.lastgroup)]
    match = rule.pattern.match(plain, m.start())
    if match is None:
        return None
    try:
        span = rule.resolve(match, now)
    except (ValueError, OverflowError):  # not a date (31 June), or outside of years 1 to 9999
        return None
    if span is None:
        return None
    zone, start, end = reference.tzinfo, match.start(), match.end()
    begin, finish = span.begin.replace(tzinfo=zone), span.finish.replace(tzinfo=zone)
    relative = rule.relative and not (rule.name == "anchored" and match["side"].lower() == "of")
    return TimeExpression(text[start:end], start, end, begin, finish, span.grain, relative, span.vague)


def describe(expression: TimeExpression) -> str:
    """The date in words, as short as its grain allows: "7 May 2023", "week of 1 May 2023", "about 2020"."""
    begin = expression.begin
    if expression.vague:
        begin = begin + (expression.finish - begin) / 2
        return "about " + _describe(
            begin, expression.grain if expression.grain in ("month", "year", "decade") else "day"
        )
    return _describe(begin, expression.grain)


def _describe(begin: datetime, grain: Grain) -> str:
    month, day = MONTHS[begin.month - 1], f"{begin.day} {MONTHS[begin.month - 1]} {begin.year}"
    if grain in ("week", "weekend"):
        return f"{grain} of {day}"
    if grain in ("month", "year", "decade"):
        return {"month": f"{month} {begin.year}", "year": str(begin.year), "decade": f"{begin.year}s"}[grain]
    if grain == "season":
        name = {3: "spring", 6: "summer", 9: "autumn", 12: "winter"}[begin.month]
        return f"{name} {begin.year}" + (f"-{(begin.year + 1) % 100:02d}" if name == "winter" else "")
    return f"{day}, {begin:%H:%M}" if grain in ("minute", "hour") else day


_ANNOTATED = re.compile(
    r" \((?:about |week of |weekend of |spring |summer |autumn |winter "
    r")?(?:\d{1,2} )?(?:[A-Z][a-z]+ )?\d{1,4}[^()]{0,8}\)"
)


def make_absolute(text: str, *, reference: datetime) -> str:
    """The text with the resolved date in round brackets behind each relative expression; its words stay.

    Applying it again changes nothing.
    """
    return annotate(text, find_time_expressions(text, reference=reference))


def annotate(text: str, expressions: list[TimeExpression]) -> str:
    """make_absolute for expressions that were found already."""
    pieces, position = [], 0
    for expression in expressions:
        if expression.relative and not _ANNOTATED.match(text, expression.end):
            pieces.append(f"{text[position : expression.end]} ({describe(expression)})")
            position = expression.end
    return "".join(pieces) + text[position:]
