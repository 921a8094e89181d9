"""Names in a text, found by capitals and the words around them.

Precision first: memories are linked by these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from .types import EntityMention

_EntityType = Literal["person", "place", "organisation", "thing", "event", "date", "other"]

_WORD = r"(?:[A-Z][\w'’&-]*[\w&]|[A-Z](?:\.[A-Z])+\.?|[A-Z]\.)"
_SEQUENCE = re.compile(
    rf"(?<![\w'’@#/.-]){_WORD}(?:(?:-|\s(?:of\s(?:the\s)?|the\s|&\s|de\s|"
    rf"van\s|von\s)?){_WORD})*(?:\s\d{{1,4}}\b(?!\s*%))?"
)
_QUOTED = re.compile(r'["“]([A-Z][^"“”\n]{1,60}?)[.,!?]?["”]')
_STARTS_SENTENCE = re.compile(r'(?:^|[.!?…:;\n]["”)\]]?\s+|["“(\[*•>-]\s?|\n\s*|[^\w\s,;\'’.-]\s*)$')
_CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]+`|https?://\S+", re.DOTALL)


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Capitalised by rule or in shouting, never names of something worth linking.
_NOT_NAMES = _word_set("""
    i i'm i've i'll i'd im monday tuesday wednesday thursday friday saturday sunday january february
    march april may june july august september october november december mon tue tues wed thu thur
    thurs fri sat sun jan feb mar apr jun jul aug sep sept oct nov dec lol omg btw fyi asap imo imho
    tbh haha hey hi hello thanks thank yes no yeah ok okay wow oh well so but and the a an my your
    his her our their it its this that these those what when where why how who which he she we they
    you if then also just please sorry great good nice cool awesome congrats congratulations mr mrs
    ms dr am pm user assistant god merry happy can't don't didn't let here there would could should
    will did does do have has had is are was were be am can may might must seems looks feels sounds
    glad happy almost during before after since until for from in on at to by with of as or not
    never yep yup nope nah aww aw ah woah whoa woohoo yay go remember anytime see keep learning
    adding speaking being such yo wait t-shirt all any some one more most many much every each both
    even still only always maybe sometimes lately recently today yesterday tomorrow tonight because
    while once unfortunately luckily actually honestly besides despite without friend friends
    absolutely totally definitely bye mom dad mum grandma grandpa diy faq ps tv pc gps usb pdf url
    http https id
    """)
_DEMONYM = re.compile(
    r"(?:English|British|Irish|Scottish|Welsh|French|German|Dutch|Danish|"
    r"Swedish|Norwegian|Finnish|Spanish|Portuguese|Italian|"
    r"Greek|Turkish|Polish|Czech|Russian|Ukrainian|Chinese|Japanese|Korean|"
    r"Indian|Thai|Vietnamese|Mexican|Brazilian|American|"
    r"Canadian|Australian|African|Asian|European|Arabic|Hebrew|Latin|"
    r"Christian|Catholic|Jewish|Muslim|Buddhist|Hindu|Mandarin)s?"
)
_ORGANISATION_WORD = re.compile(
    r"\b(?:Inc|Ltd|LLC|GmbH|Corp|Corporation|Company|Co|University|College|"
    r"School|Academy|Institute|Hospital|Clinic|Bank|"
    r"Foundation|Association|Society|Council|Committee|Agency|Ministry|"
    r"Department|Studios?|Labs?|Airlines|Museum|Church|FC|Club|"
    r"Group|Team|Union)\b\.?"
)
_PLACE_WORD = re.compile(
    r"\b(?:Street|Avenue|Road|Park|Beach|Lake|River|Mount|Mountains?|"
    r"Island|Islands|Valley|Canyon|City|County|Bay|Square|"
    r"Bridge|Airport|Station|Forest|Desert|Coast|Falls|National Park|New York|San [A-Z]\w+|Los Angeles)$"
)
_EVENT_WORD = re.compile(
    r"\b(?:Festival|Conference|Marathon|Cup|Championships?|Olympics|Parade|"
    r"Fair|Awards?|Summit|Tournament|Day|Christmas|Thanksgiving|Easter|"
    r"Halloween|Hanukkah|Diwali|Eid)\b"
)
_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Dr|Prof|Professor|Uncle|Aunt|Auntie|Grandma|Grandpa|Coach|Captain|Saint)\.?\s$")
_PERSON_BEFORE = re.compile(
    r"\b(?:friends?|buddy|pal|sister|brother|son|daughter|wife|husband|"
    r"partner|boyfriend|girlfriend|mother|father|mom|mum|dad|"
    r"cousin|aunt|uncle|nephew|niece|neighbou?r|colleague|coworker|boss|"
    r"manager|teacher|doctor|fianc[eé]e?|roommate|kid|baby|"
    r"named|called|name\sis|dear|hey|hi|hello|thanks|bye|met)[,:]?\s$",
    re.IGNORECASE,
)
_PERSON_AFTER = re.compile(
    r"\s(?:said|says|told|asked|thinks|thought|wants|wanted|loves|likes|"
    r"hates|invited|called|texted|and\sI|smiled|laughed)\b|['’]s\s(?:mother|"
    r"father|wife|husband|birthday|house|son|"
    r"daughter|sister|brother|friend|dog|cat|job|wedding)\b"
)
_SPEECH_AFTER = re.compile(r"\s(?:said|says|told|asked|thinks|invited|called|texted|and\sI)\b")
_POSSESSIVE = re.compile(r"['’](?:s|ll|ve|re|d|m|t)?$")
_PLACE_BEFORE = re.compile(
    r"\b(?:live[sd]?|living|moved|moving|travel(?:l?ed|l?ing|s)?|trips?|"
    r"flew|fly|flying|drove|visit(?:ed|ing|s)?|went|going|been|"
    r"vacation|holiday|born|grew\sup|stay(?:ed|ing)?|based|arrived|back|"
    r"am|are|is|was|I['’]m)\s(?:\w+\s){0,2}?(?:in|to|from|at|near|around)\s(?:the\s)?$"
    r"|\b(?:in|visit(?:ed|ing)?)\s(?:downtown\s|northern\s|southern\s|eastern\s|western\s|central\s)?$",
    re.IGNORECASE,
)
_ORGANISATION_BEFORE = re.compile(
    r"\b(?:work(?:s|ed|ing)?|job|intern(?:ed|ing|ship)?|employed|hired|"
    r"stud(?:y|ied|ies|ying)|graduated|degree|position|career)\s(?:\w+\s){0,3}?(?:at|"
    r"for|with|by|from)\s(?:the\s)?$",
    re.IGNORECASE,
)


def find_entities(text: str, *, known: Iterable[str] = ()) -> tuple[EntityMention, ...]:
    """The names in the text, each once, in order.

    known: names of speakers and of people met before; they are always persons.

    A single capitalised word at the start of a sentence counts only where it is known or cued.
    """
    names = {name.lower(): name for name in known if name}
    found: dict[str, EntityMention] = {}
    if "`" in text or "://" in text:
        text = _CODE.sub(lambda m: " " * len(m[0]), text)
    if _is_shouting(text):
        return ()
    titles = [m for m in _QUOTED.finditer(text) if _is_title(m[1])]
    for title in titles:
        found.setdefault(title[1].lower(), EntityMention(title[1], "thing"))
    for m in _SEQUENCE.finditer(text):
        inside = any(title.start() < m.start() < title.end() for title in titles)
        if not inside and (mention := _mention(text, m, names)):
            found.setdefault(mention.name.lower(), mention)
    return tuple(found.values())


def _is_shouting(text: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", text) if text.isupper() else []
    return len(words) > 3


def _is_title(quoted: str) -> bool:
    """A title has capitals on most of its longer words; "Is this real" in quotes is speech."""
    words = [word for word in quoted.split() if len(word) > 3] or quoted.split()
    return sum(word[0].isupper() for word in words) >= 0.7 * len(words) and quoted.lower() not in _NOT_NAMES


def _mention(text: str, m: re.Match[str], names: dict[str, str]) -> EntityMention | None:
    """The name in a run of capitalised words, less the words at its ends that only begin a sentence."""
    at_start = m.start() == 0 or bool(_STARTS_SENTENCE.search(text[max(0, m.start() - 4) : m.start()]))
    if _TITLE.search(text, max(0, m.start() - 12), m.start()):
        at_start = False
    words = m[0].split()
    while words and (_bare(words[0]) in _NOT_NAMES or _only_opens(words, at_start, names)):
        words, at_start = words[1:], False
    while words and (_bare(words[-1]) in _NOT_NAMES or words[-1].islower()):
        words = words[:-1]
    name = _POSSESSIVE.sub("", " ".join(words)).strip(".'’-")
    if len(name) < 2 or _DEMONYM.fullmatch(name) or (name.isupper() and len(name) > 5 and name.lower() not in names):
        return None
    start = max(m.start(), text.find(name, m.start(), m.end()))
    end = start + len(name)
    if at_start and len(words) == 1 and name.lower() not in names and not _SPEECH_AFTER.match(text, end):
        return None
    return EntityMention(names.get(name.lower(), name), _kind(text, start, end, name, names))


def _only_opens(words: list[str], at_start: bool, names: dict[str, str]) -> bool:
    """ "Woohoo Anna", "Visiting Rome": the first word has its capital from the sentence alone."""
    return at_start and len(words) > 1 and (words[0].endswith("ing") or " ".join(words[1:]).lower() in names)


def _bare(word: str) -> str:
    return _POSSESSIVE.sub("", word).lower().strip(".,!?")


def _kind(text: str, start: int, end: int, name: str, names: dict[str, str]) -> _EntityType:
    before = text[max(0, start - 40) : start]
    if _is_called(name.lower(), names) or _TITLE.search(before):
        return "person"
    for pattern, kind in (
        (_ORGANISATION_WORD, "organisation"),
        (_EVENT_WORD, "event"),
        (_PLACE_WORD, "place"),
    ):
        if pattern.search(name):
            return kind  # type: ignore[return-value]
    if _ORGANISATION_BEFORE.search(before):
        return "organisation"
    if _PLACE_BEFORE.search(before):
        return "place"
    if _PERSON_BEFORE.search(before) or _PERSON_AFTER.match(text, end):
        return "person"
    return "other"


def _is_called(name: str, names: dict[str, str]) -> bool:
    """A known name, or the first letters of one: "Mel" for Melanie."""
    return name in names or (len(name) > 2 and any(known.startswith(name) for known in names))
