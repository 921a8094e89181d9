"""The verbs that statements are read from, in all their forms."""

from __future__ import annotations

from typing import Literal, NamedTuple

VerbForm = Literal["base", "s", "ing", "past", "pp"]

_REGULAR = """
    work reside settle relocate emigrate immigrate move join start resign retire study graduate major enrol enroll
    volunteer marry divorce date separate love like enjoy adore prefer hate despise loathe detest dislike play collect
    practise practice smoke own adopt rescue purchase acquire use wear watch celebrate learn train interest suffer
    recover visit travel hike climb attend finish complete pass launch publish register sign book plan
    hope intend decide cancel skip stop switch change turn convert die commute rent stay raise
    welcome want need reserve schedule trade donate rehome tour explore host perform land accept name drop
    call live serve manage coach cycle jog dance paint garden cook bake knit surf ski
    return renovate support follow believe worship care identify
    walk talk need fish hunt sail row skate foster sponsor brew decline reject refuse march camp
    farm invest edit design compose tutor mentor pray meditate juggle crochet sculpt
    heal arrive replace swap upgrade postpone propose push end crash transfer sprain fracture exchange
"""
_IRREGULAR = """
    go goes going went gone|leave leaves leaving left left|get gets getting got got|have has having had had
    do does doing did done|run runs running ran run|eat eats eating ate eaten|drink drinks drinking drank drunk
    speak speaks speaking spoke spoken|teach teaches teaching taught taught|drive drives driving drove driven
    buy buys buying bought bought|sell sells selling sold sold|give gives giving gave given|take takes taking took taken
    become becomes becoming became become|begin begins beginning began begun|quit quits quitting quit quit
    grow grows growing grew grown|come comes coming came come|fly flies flying flew flown|see sees seeing saw seen
    win wins winning won won|break breaks breaking broke broken|split splits splitting split split
    lose loses losing lost lost|make makes making made made|meet meets meeting met met
    swim swims swimming swam swum|sing sings singing sang sung|write writes writing wrote written
    read reads reading read read|build builds building built built|stand stands standing stood stood
    keep keeps keeping kept kept|ride rides riding rode ridden|wed weds wedding wed wed
    find finds finding found found|sleep sleeps sleeping slept slept|put puts putting put put|set sets setting set set
    head heads heading headed headed|lead leads leading led led|know knows knowing knew known
    cut cuts cutting cut cut|wake wakes waking woke woken|
    tear tears tearing tore torn|beat beats beating beat beaten|outgrow outgrows outgrowing outgrew outgrown|
    bring brings bringing brought brought|be is being was been
"""
_DOUBLED = frozenset({"plan", "swap", "stop", "drop", "jog", "enrol", "travel", "skip", "cancel"})


class Verb(NamedTuple):
    lemma: str
    forms: frozenset[VerbForm]


def third_person(lemma: str) -> str:
    """ "work" -> "works", "study" -> "studies"."""
    if lemma in _THIRD:
        return _THIRD[lemma]
    if lemma.endswith(("s", "sh", "ch", "x", "z", "o")):
        return lemma + "es"
    return lemma[:-1] + "ies" if lemma.endswith("y") and lemma[-2] not in "aeiou" else lemma + "s"


def _regular_forms(lemma: str) -> tuple[str, str, str]:
    """The s-form, the ing-form and the past of a regular verb."""
    stem = lemma + lemma[-1] if lemma in _DOUBLED else lemma
    if lemma.endswith("ie"):
        return third_person(lemma), lemma[:-2] + "ying", lemma + "d"
    if lemma.endswith("e"):
        return third_person(lemma), lemma[:-1] + "ing", lemma + "d"
    if lemma.endswith("y") and lemma[-2] not in "aeiou":
        return third_person(lemma), lemma + "ing", lemma[:-1] + "ied"
    return third_person(lemma), stem + "ing", stem + "ed"


_THIRD: dict[str, str] = {"have": "has", "be": "is"}


def _lexicon() -> dict[str, Verb]:
    forms: dict[str, tuple[str, set[VerbForm]]] = {}

    def add(surface: str, lemma: str, form: VerbForm) -> None:
        forms.setdefault(surface, (lemma, set()))[1].add(form)

    for row in _IRREGULAR.replace("\n", "|").split("|"):
        if row.strip():
            lemma, s, ing, past, pp = row.split()
            _THIRD.setdefault(lemma, s)
            for surface, form in ((lemma, "base"), (s, "s"), (ing, "ing"), (past, "past"), (pp, "pp")):
                add(surface, lemma, form)  # type: ignore[arg-type]
    for lemma in _REGULAR.split():
        s, ing, past = _regular_forms(lemma)
        for surface, form in ((lemma, "base"), (s, "s"), (ing, "ing"), (past, "past"), (past, "pp")):
            add(surface, lemma, form)  # type: ignore[arg-type]
    for surface, lemma in (("traveled", "travel"), ("canceled", "cancel"), ("learnt", "learn")):
        add(surface, lemma, "past")
        add(surface, lemma, "pp")
    for surface, lemma in (("traveling", "travel"), ("canceling", "cancel")):
        add(surface, lemma, "ing")
    return {surface: Verb(lemma, frozenset(kinds)) for surface, (lemma, kinds) in forms.items()}


VERBS = _lexicon()
