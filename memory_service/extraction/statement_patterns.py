"""The patterns that statements are found by. General English; the reading of them is in statements.py."""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """body pattern -> "{subject} {template}"; the value is what stands behind the match, up to the
    clause's end. check: which values are refused. An empty value is accepted by "none" only."""

    pattern: re.Pattern[str]
    template: str
    attribute: str
    confidence: float
    check: str


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _words(text: str) -> str:
    return "(?:" + "|".join(text.split()) + ")"


_DIETS = _words(
    "vegetarian vegan pescatarian flexitarian gluten-free lactose-intolerant "
    "lactose\\sintolerant teetotal coeliac celiac"
)
_STATES = _words(
    """
    pregnant retired unemployed self-employed bilingual left-handed right-handed colou?r-?blind deaf
    diabetic asthmatic autistic dyslexic gay lesbian bisexual transgender trans non-binary nonbinary
    religious sober vegan vegetarian
    """
)
_MARITAL = _words("married single divorced engaged widowed separated")
_OCCUPATIONS = _words(
    """
    accountant actor actress architect artist assistant astronomer attorney author baker banker
    barber barista bartender biologist bookkeeper bus.driver butcher carpenter cashier chef chemist
    cleaner coach consultant cook counsell?or dancer dentist designer developer dietitian director
    doctor driver economist editor electrician engineer farmer firefighter fisherman florist
    freelancer gardener guide hairdresser historian illustrator instructor interpreter janitor
    journalist judge lawyer lecturer librarian lifeguard manager mechanic midwife model musician
    nanny nurse optician painter paramedic pediatrician pharmacist photographer physicist
    physiotherapist pianist pilot plumber poet police.officer politician postman principal producer
    professor programmer psychiatrist psychologist realtor receptionist reporter researcher sailor
    salesman saleswoman scientist sculptor secretary singer social.worker soldier statistician
    streamer stylist surgeon surveyor tailor teacher technician therapist trainer translator tutor
    vet veterinarian waiter waitress welder writer yoga.instructor zoologist
    """
)
NATIONALITIES = _words(
    """
    American Australian Austrian Argentinian Belgian Brazilian British Bulgarian Canadian Chilean
    Chinese Colombian Croatian Czech Danish Dutch Egyptian English Ethiopian Filipino Finnish French
    German Ghanaian Greek Hungarian Icelandic Indian Indonesian Iranian Irish Israeli Italian
    Jamaican Japanese Kenyan Korean Lebanese Malaysian Mexican Moroccan Nigerian Norwegian Pakistani
    Peruvian Polish Portuguese Romanian Russian Scottish Serbian Slovak Spanish Swedish Swiss Syrian
    Taiwanese Thai Turkish Ukrainian Vietnamese Welsh Jewish Muslim Christian Catholic Buddhist
    Hindu
    """
)
_KIN = _words(
    """
    husband wife partner boyfriend girlfriend spouse fianc[eé]e? mother father mom mum dad parents
    sister sisters brother brothers siblings twins? son sons daughter daughters child children kids?
    baby grandmother grandfather grandma grandpa grandparents grandson granddaughter grandchildren
    grandkids aunt uncle cousins? niece nephew stepmother stepfather stepson stepdaughter godson
    goddaughter family
    """
)
PETS = _words(
    """
    dogs? pupp(?:y|ies) pups? cats? kittens? kitt(?:y|ies) pets? horses? pon(?:y|ies) rabbits?
    bunn(?:y|ies) hamsters? guinea\\spigs? birds? parrots? turtles? tortoises? snakes? fish lizards?
    geckos? iguanas? chickens? goats? ferrets? budgies? cows? sheep pigs?
    """
)
THINGS = _words(
    """
    degree(?:\\sin)? masters? phd doctorate bachelor's diploma car truck van motorcycle motorbike
    bike bicycle boat house home apartment flat condo cabin farm garden allotment piano guitar
    violin cello drums? business shop store company restaurant bakery studio blog podcast channel
    tattoos? allergy allergies asthma diabetes adhd autism epilepsy arthritis dyslexia anxiety
    depression migraines insomnia anemia peanut\\sallergy roommates? housemates? neighbou?rs?
    collection accent licen[cs]e pilot's\\slicen[cs]e green\\scard passport visa telescope camera
    drone tractor
    """
)
_NUMBER = r"(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d{1,3}|several|some|no|many)"


def _rule(pattern: str, template: str, attribute: str, confidence: float = 0.85, check: str = "any") -> Rule:
    return Rule(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), template, attribute, confidence, check)


BE_RULES = (
    _rule(rf"not (?=(?:an? )?{_DIETS}\b)", "is not {value}", "is not", 0.85, "short"),
    _rule(
        (
            r"not (?:really |much of )?(?:an? )?(?:big |huge )?(?:fan of|into|"
            r"fond of) "
        ),
        "is not a fan of {value}",
        "dislikes",
        check="liking",
    ),
    _rule(r"not (?:very |really )?(?:good at|interested in) ", "is {match}{value}", "is not", 0.7, "liking"),
    _rule(
        rf"(?:an? )?(?=(?:strict |lifelong |committed )?{_DIETS}\b)",
        "is {match}{value}",
        "diet",
        0.95,
        "diet",
    ),
    _rule(
        r"(?:severely |deathly |very |really |highly )?allergic to ",
        "is allergic to {value}",
        "is allergic to",
        0.95,
        "noun",
    ),
    _rule(r"(?:originally )?from (?=(?-i:(?:the )?[A-Z]))", "is {match}{value}", "from", 0.9, "place"),
    _rule(r"(?=\d{1,3} years? old\b)", "is {value}", "age", 0.95, "age"),
    _rule(rf"(?={_MARITAL}\b)", "is {value}", "marital status", 0.85, "state"),
    _rule(rf"(?={_STATES}\b)", "is {value}", "is", 0.85, "state"),
    _rule(rf"(?=(?-i:{NATIONALITIES})\b)", "is {value}", "is", 0.85, "short"),
    _rule(
        (
            r"(?:an? )(?:really |very )?(?:big |huge |massive |die-?hard |lifelong "
            r")?(?:fan|lover) of "
        ),
        "is a fan of {value}",
        "likes",
        0.9,
        "liking",
    ),
    _rule(
        (
            r"(?:really |very |pretty |super |so |big )?(?:into|passionate about|"
            r"fond of|keen on|obsessed with|addicted to|crazy about) "
        ),
        "is {match}{value}",
        "likes",
        0.8,
        "liking",
    ),
    _rule(
        r"(?:very |really |always been )?interested in ",
        "is interested in {value}",
        "is interested in",
        0.8,
        "liking",
    ),
    _rule(
        r"(?:really |very |deathly |so )?(?:afraid|scared|terrified) of ",
        "is {match}{value}",
        "is afraid of",
        0.85,
        "noun",
    ),
    _rule(
        r"(?:currently |now |still )?(?:living|based) (?:in|near|on|with) ",
        "is {match}{value}",
        "lives in",
        0.9,
        "place",
    ),
    _rule(r"(?:currently |now |still )?working as (?=an? )", "is {match}{value}", "works as", 0.9, "noun"),
    _rule(
        r"(?:currently |now |still )?(?:working|employed) (?:at|for) ",
        "is {match}{value}",
        "works at",
        0.85,
        "noun",
    ),
    _rule(
        (
            r"(?:currently |now |also |still )?(?:learning|studying|training "
            r"for|majoring in|teaching|volunteering at|volunteering with) "
        ),
        "is {match}{value}",
        "is learning",
        0.8,
        "activity",
    ),
    _rule(
        r"(?:currently )?(?:moving) to (?=(?-i:(?:the )?[A-Z]))",
        "is {match}{value}",
        "is moving to",
        0.8,
        "place",
    ),
    _rule(r"saving (?:up )?(?:for|to) ", "is {match}{value}", "is saving for", 0.75, "noun"),
    _rule(r"named after ", "is {match}{value}", "named after", 0.75, "noun"),
    _rule(
        rf"an? (?!retired|former)(?=(?:[\w-]+ ){{0,3}}?{_OCCUPATIONS}\b)",
        "is {match}{value}",
        "works as",
        0.9,
        "occupation",
    ),
    _rule(
        (
            r"an? (?=(?:[\w-]+ ){0,2}(?:(?:retired|former) [\w-]+|student|major|"
            r"mother|father|mom|mum|dad|parent|grandmother|grandfather|widow|"
            r"widower|native of|citizen|immigrant|twin|only child|member of|volunteer|"
            r"veteran|freshman|sophomore|junior|senior|graduate|introvert|extrovert|"
            r"morning person|night owl|early bird|dog person|cat person|homebody|"
            r"bookworm|foodie|survivor|gamer|collector|runner|owner)\b)"
        ),
        "is {match}{value}",
        "is",
        0.8,
        "noun",
    ),
)

HAVE_RULES = (
    _rule(
        (
            r"(?=(?:severe |chronic |mild |type \w+ )?(?:diabetes|asthma|adhd|"
            r"autism|epilepsy|arthritis|dyslexia|anxiety|depression|insomnia|"
            r"anemia|migraines|celiac disease)\b)"
        ),
        "has {value}",
        "has",
        0.9,
        "noun",
    ),
    _rule(
        (
            rf"(?:also )?(?!a (?:lot|bunch|ton)\b)(?={_NUMBER} (?:[\w'-]+ ){{0,3}}?(?:{_KIN}|"
            rf"{PETS}|{THINGS})\b)"
        ),
        "has {value}",
        "has",
        0.9,
        "having",
    ),
    _rule(
        (
            r"been (?=(?:playing|working|living|learning|studying|teaching|practicing|"
            r"practising|collecting|married|running|dancing|painting|writing|"
            r"volunteering|coaching|vegan|vegetarian|a)\b[^,.!?;]*\b(?:for|since) "
            r"(?:\w+ ){0,3}(?:years?|months?|decades?|\d{4}|childhood|ages|\w+teen|"
            r"\d+))"
        ),
        "has been {value}",
        "has been",
        0.8,
        "lasting",
    ),
    _rule(
        (
            r"never (?:really )?(?=(?:been to|tried|eaten|smoked|travel+ed to|"
            r"owned|driven|learned|drunk|flown)\b)"
        ),
        "has never {value}",
        "has never",
        0.75,
        "noun",
    ),
    _rule(
        (
            r"(?:always|long) (?:really )?(?=(?:loved|hated|wanted|enjoyed|dreamed|"
            r"liked|lived)\b)"
        ),
        "has always {value}",
        "has always",
        0.8,
        "noun",
    ),
    _rule(r"lived (?:in|near) ", "has lived in {value}", "has lived in", 0.8, "place"),
)

WAS_RULES = (
    _rule(r"(?:born and )?raised in ", "was {match}{value}", "grew up in", 0.9, "place"),
    _rule(r"born (?:in|on) ", "was born {prep} {value}", "born {prep}", 0.9, "place"),
    _rule(r"(?:just |recently )?diagnosed with ", "was {match}{value}", "was diagnosed with", 0.9, "noun"),
    _rule(
        r"(?:just |recently )?(?:promoted|hired|fired|laid off|accepted (?:in)?to)\b",
        "was {match}{value}",
        "was",
        0.75,
        "event",
    ),
)

VERB_RULES = (
    _rule(r"live (?:in|at|near|on|with|by) ", "lives {prep} {value}", "lives in", 0.95, "place"),
    _rule(
        (
            r"(?:just |recently )?(?:moved|relocated|emigrated|immigrated) (?:back "
            r")?(?:to|from) (?=(?-i:(?:the )?[A-Z]))"
        ),
        "{match}{value}",
        "moved {prep}",
        0.9,
        "place",
    ),
    _rule(r"grew up (?:in|on|near) ", "{match}{value}", "grew up in", 0.9, "place"),
    _rule(r"come from (?=(?-i:[A-Z]|a ))", "comes from {value}", "from", 0.85, "place"),
    _rule(r"work as (?=an? )", "works as {value}", "works as", 0.95, "noun"),
    _rule(r"work (?:at|for) ", "works {prep} {value}", "works at", 0.9, "noun"),
    _rule(r"work (?:in|with) ", "works {prep} {value}", "works in", 0.8, "noun"),
    _rule(
        (
            r"run (?=an? (?:[\w-]+ ){0,3}?(?:business|shop|store|company|restaurant|"
            r"bakery|studio|school|blog|podcast|channel|cafe|farm|charity|club)\b)"
        ),
        "runs {value}",
        "runs",
        0.9,
        "noun",
    ),
    _rule(r"own (?=an? |two |three |my own )", "owns {value}", "owns", 0.85, "noun"),
    _rule(r"teach (?!you|him|her|them|people how)", "teaches {value}", "teaches", 0.85, "activity"),
    _rule(r"volunteer (?:at|for|with|in) ", "volunteers {prep} {value}", "volunteers at", 0.9, "noun"),
    _rule(
        (
            r"(?:stud(?:y|ied)|majored in|graduated (?:from|with)|went to (?=college|"
            r"school|university)|dropped out of) ?"
        ),
        "{past}{value}",
        "studied",
        0.85,
        "activity",
    ),
    _rule(
        r"speak (?=(?:fluent |some |a little |a bit of |both )?(?-i:[A-Z]))",
        "speaks {value}",
        "speaks",
        0.95,
        "noun",
    ),
    _rule(
        (
            r"play (?=(?:the |a little |some |in |for |bass|drums|guitar|piano|"
            r"violin|tennis|golf|chess|football|soccer|basketball|baseball|hockey|"
            r"rugby|cricket|volleyball|badminton|video|board|table|computer))"
        ),
        "plays {value}",
        "plays",
        0.85,
        "activity",
    ),
    _rule(r"collect ", "collects {value}", "collects", 0.85, "liking"),
    _rule(r"drive (?=an? )", "drives {value}", "drives", 0.85, "noun"),
    _rule(r"suffer from ", "suffers from {value}", "suffers from", 0.9, "noun"),
    _rule(r"(?:love|adore) ", "loves {value}", "likes", 0.85, "liking"),
    _rule(r"like ", "likes {value}", "likes", 0.8, "liking"),
    _rule(r"enjoy ", "enjoys {value}", "likes", 0.85, "liking"),
    _rule(r"prefer ", "prefers {value}", "prefers", 0.85, "liking"),
    _rule(r"(?:hate|despise|loathe|detest) ", "hates {value}", "dislikes", 0.85, "liking"),
    _rule(r"dislike ", "dislikes {value}", "dislikes", 0.85, "liking"),
    _rule(r"(?:can't|cannot|can not) stand ", "can't stand {value}", "dislikes", 0.9, "liking"),
    _rule(
        r"(?:don't|do not) (?:really |particularly )?(?:like|enjoy|care for) ",
        "does not like {value}",
        "dislikes",
        0.85,
        "liking",
    ),
    _rule(
        (
            r"(?:don't|do not|never) (?:really )?(?P<verb>eat|drink|smoke|drive|"
            r"own|speak|watch|play|wear|celebrate)\b ?"
        ),
        "does not {verb} {value}",
        "does not {verb}",
        0.85,
        "habit",
    ),
    _rule(
        (
            r"(?:don't|do not) have (?=(?:any |a |an )(?:[\w-]+ ){0,2}?(?:KIN|"
            r"PETS|THINGS)\b)"
        )
        .replace("KIN", _KIN)
        .replace("PETS", PETS)
        .replace("THINGS", THINGS),
        "does not have {value}",
        "does not have",
        0.85,
        "having",
    ),
    _rule(
        (
            r"no longer (?P<verb>live in|work at|work for|work as|eat|drink|smoke|"
            r"play|drive|own|have|teach|study)\b ?"
        ),
        "no longer {verb3} {value}",
        "no longer {verb3}",
        0.9,
        "habit",
    ),
    _rule(
        (
            r"used to (?=(?:live|work|be an?|play|have an?|own|smoke|drink|eat|"
            r"teach|study|collect|hate|love|dance|swim|sing|run|paint|write|speak)\b)"
        ),
        "used to {value}",
        "used to",
        0.85,
        "noun",
    ),
    _rule(
        (
            r"(?:just |recently )?(?:got|get) (?=(?:married|engaged|divorced|"
            r"pregnant)\b)"
        ),
        "got {value}",
        "got",
        0.9,
        "event",
    ),
    _rule(
        (
            r"(?:just |recently )?(?=(?:adopted|bought|rescued) (?:an?|two|three|"
            r"my first|our first|my own) )"
        ),
        "{match}{value}",
        "acquired",
        0.75,
        "acquired",
    ),
    _rule(
        (
            r"(?:just |recently )?(?=(?:quit|left|lost|started|resigned from) "
            r"(?:my |a new )(?:[\w-]+ )?(?:job|position|career|company|business|"
            r"role)\b)"
        ),
        "{match}{value}",
        "job",
        0.85,
        "event",
    ),
    _rule(
        (
            r"(?:just |recently )?(?=retired (?:from|in|last|at)\b|opened (?:my|"
            r"a) (?:own )?(?:\w+ ){0,2}(?:shop|store|studio|restaurant|bakery|"
            r"business)\b)"
        ),
        "{match}{value}",
        "job",
        0.8,
        "event",
    ),
    _rule(
        (
            r"(?:just |recently )?(?=(?:joined|started|founded) (?:an?|the) (?:[\w-]+ "
            r"){0,2}?(?:club|team|band|gym|group|choir|league|orchestra|company|"
            r"startup|army|navy)\b)"
        ),
        "{match}{value}",
        "joined",
        0.8,
        "event",
    ),
    _rule(
        (
            r"(?:always )?(?:want|hope|plan) to (?=(?:become|be) an?\b|move to "
            r"(?-i:[A-Z])|open an?\b|learn\b|adopt\b|retire\b|travel to (?-i:[A-Z])|"
            r"visit (?-i:[A-Z])|go to (?-i:[A-Z])|study\b|start my own\b|write "
            r"an?\b|buy an?\b)"
        ),
        "{third}{value}",
        "wants to",
        0.75,
        "noun",
    ),
)

MY_FAVOURITE = re.compile(
    r"(?:(?:absolute|all-time|personal) )?favou?rite (?P<what>[\w'-]+(?: "
    r"(?!is\b|are\b|was\b)[\w'-]+){0,2}?)(?P<verb> is| are|'s) ",
    re.IGNORECASE,
)
MY_PLAIN = re.compile(
    r"(?P<what>(?:full |first |last |middle |real |maiden )?name|birthday|"
    r"hometown|home town|job|profession|occupation|hobb(?:y|ies)"
    r"|(?:main |biggest |big |ultimate )?(?:dream|goal|passion)|dream "
    r"job|nickname|address|e-?mail(?: address)?|phone number|zodiac sign|"
    r"star sign"
    r"|native language|mother tongue|nationality|religion|blood type|"
    r"shoe size|major|degree|pronouns|time ?zone)(?P<verb> is| are|'s) ",
    re.IGNORECASE,
)
MY_KIN = re.compile(
    rf"(?P<kin>(?:(?:older|younger|little|big|oldest|youngest|eldest|twin|"
    rf"late|best|old|new|half|step|elder|ex|two|three)[ -])*"
    rf"(?:{_KIN}|{PETS}|friend|boss|neighbou?r|roommate|colleague|coworker|"
    rf"ex(?:-(?:wife|husband))?))(?P<name>,? (?-i:[A-Z][a-z]+),?)? "
    r"(?P<verb>lives? in|works? (?:as|at|for|in)|(?:is|are|was) (?=an? "
    r"|from |called |named |\d+ years? old|allergic |a?n?other )|is (?=married|"
    r"pregnant|engaged|retired|vegan)"
    r"|comes? from|moved to|plays? (?=the |in |for )|speaks? (?=(?-i:[A-Z]))|"
    r"studies|teaches|was born|passed away|died|grew up in|got (?=married|"
    r"engaged|divorced))(?P<end> ?)",
    re.IGNORECASE,
)
MY_KIN_NAME = re.compile(
    rf"(?P<kin>(?:[\w-]+ )?(?:{_KIN}|{PETS}|friend|boss|roommate)'s? "
    rf"names?) (?P<verb>is|are|was|were) (?=(?-i:[A-Z]))",
    re.IGNORECASE,
)
THIRD = re.compile(
    r"(?P<name>[A-Z][a-z]+(?: [A-Z][a-z]+)?) (?P<verb>lives in (?=[A-Z])|"
    r"works as (?=an? )|works (?:at|for) (?=[A-Z])|is allergic to |was "
    r"born in |was born on "
    r"|moved to (?=[A-Z])|speaks (?=[A-Z])|is from (?=[A-Z])|grew up in |is an? (?=(?:[\w-]+ ){0,2}?(?:"
    + _OCCUPATIONS
    + r"|vegetarian|vegan)\b)|plays the )"
)
NOT_PEOPLE = _word_set("""
    he she it this that there they we you who what everyone everybody someone somebody nobody anyone
    one mom mum dad everything nothing life work music english german french spanish my our your his
    her their the a an if when while so and but most some many people kids wife husband sister
    brother another each either neither here google apple where how why whoever which also maybe
    """)

SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\w)[^.!?\n]*)*(?P<end>[.!?]*)")
_OPENER = (
    r"(?:(?:oh|well|yeah|yea|yes|yep|yup|no|nope|nah|haha|hah|wow|cool|"
    r"thanks|hey|hi|hello|so|and|but|actually|also|plus|honestly"
    r"|personally|anyway|btw|by the way|as for me|for me|same here|me "
    r"too|true|right|ok|okay|sure|unfortunately|luckily|lately"
    r"|recently|currently|today|these days|nowadays|right now|at the "
    r"moment|in fact|to be honest|tbh|fun fact|besides that"
    r"|nice to meet you(?: too)?|cause|because|though|for starters|well "
    r"then|sometimes|usually|mostly|ah|aw|awesome|great|nice)"
    r"(?:,? (?-i:[A-Z][a-z]+))?[,!.:]*\s+)*"
)
_SUBJECT = (
    r"(?P<subject>i'm|i am|im|i've got|i have got|i've|i have|i was|i|"
    r"my)\s+(?:(?:do(?=\s+(?:love|like|enjoy|have|live|work|play|prefer|"
    r"hate|speak))|really|absolutely|also|just|actually|totally|truly|"
    r"definitely|simply|personally|honestly|kinda|only|both|especially|"
    r"especially|genuinely|particularly|sure|currently)\s+)*(?P<keep>(?:still|"
    r"always|usually|often|mostly|mainly|now)\s+)?"
    r"(?:really\s+|also\s+)?"
)
START = re.compile(rf"\s*[-*•\"(]?\s*{_OPENER}{_SUBJECT}", re.IGNORECASE)
NEXT = re.compile(
    rf"(?:[,;:]\s+|\s+[-–—]+\s+|[–—]|(?:,?\s+(?:and|but|so|because|since|"
    rf"plus|cause|'cause|as)\s+)){_OPENER}{_SUBJECT}",
    re.IGNORECASE,
)
# "I'm a vegetarian and allergic to nuts": the second half has the subject of the first.
ELLIPSIS = re.compile(
    r",?\s+and\s+(?=(?:(?P<be>allergic to|from (?-i:[A-Z])|an? )|(?P<verb>(?:live|"
    r"work|love|hate|enjoy|play|speak|grew up|studied|teach|own) )|(?P<have>have "
    r")))(?:also\s+)?(?:have\s+)?",
    re.IGNORECASE,
)
HYPOTHETICAL = re.compile(
    r"\b(?:if|unless|wish(?:es|ed)?|imagine|suppose|supposing|pretend(?:ing)?|"
    r"hypothetically|maybe|perhaps|might|whether|would|wouldn't|in case|"
    r"when|whenever"
    r"|as though|once|until|before|after|while|in my dreams?|act like)\b|'d\b",
    re.IGNORECASE,
)
REPORTED = re.compile(
    r"\b(?:said|says?|saying|told|tells?|asked|asks|thinks|thought|claims?|"
    r"claimed|believes?|believed|according|quot(?:e|es|ed|ing)|wrote|"
    r"texted|"
    r"heard|reads?|replied|joked|lyrics?|dreamt|dreamed|assumed?|assumes|guess|forgot)\b",
    re.IGNORECASE,
)
JOKE = re.compile(
    r"\b(?:just kidding|j/?k|kidding|just joking|only joking|joking|not "
    r"really,? lol|sarcas\w+|april fool)\b|(?:^|\s)/s\b",
    re.IGNORECASE,
)
QUESTION_START = re.compile(
    r"\s*(?:what|who|where|when|why|how|which|do|does|did|is|are|can|could|would|should|have|has|will)\b",
    re.IGNORECASE,
)

# Where a value ends. A comma ends it too, except inside of a list (see LIST).
BOUNDARY = re.compile(
    r"\s*(?:[;:!?…\[\]()\"“”*]|\.(?=\s|$)|\s[-–—]+\s|[–—]|--"
    r"|,?\s+(?:but|because|cause|'cause|so|which|who(?=\s)|when|whenever|"
    r"while|though|although|where|unless|if|until|even though|since\s+(?:i|"
    r"it|my|we)|as\s+(?:it|i|they|we|well)\b|too\b"
    r"|especially|like|right now|at the moment|these days|nowadays|lol|"
    r"haha|actually|honestly|a lot\b(?! of)|every (?:now and then|once "
    r"in a while)|from time to time|so much|very much|the most"
    r"|and\s+(?:i|i'm|i've|i'd|i'll|my|it|it's|its|we|we're|they|they're|"
    r"he|he's|she|she's|that|that's|this|these|those|you|there|then|just|"
    r"also|even|now|always|never|have|has|had|am|is|are|was|were|want|"
    r"would|can|can't|could|will|got|get|"
    r"love|hate|enjoy|like|live|work|play|speak|used|don't|not|how|what|"
    r"think|feel|try|try to|started|teach|own|allergic|from)"
    r"|that\s+(?:i|i'm|i've|my|it|we|he|she|they|you|is|are|was|has|have)|"
    r"i|i'm|i've|we|we're|it's|it|they|he|she)(?=\s|$|[,.!?;'])"
    r"|\s+as\s+well\b|[^\w\s,.'’&/%+#$€£°@-])",
    re.IGNORECASE,
)
_ITEM = (
    r"(?!(?:and|or|i|it|but|so|you|we|that|which|who|then|not|too|because|"
    r"just|though|is|was|are)\b)[\w'&-]+(?: [\w'&-]+){0,3}"
)
LIST = re.compile(rf"[^,]+(?:, {_ITEM})*,? (?:and|or|&) {_ITEM}$|[^,]+(?:, {_ITEM}){{2,}}$", re.IGNORECASE)
POINTS_OUTSIDE = re.compile(
    r"\b(?:you|your|yours|you're|yourself|u|ur|we|our|us|ours|i|i'm|i've|"
    r"i'll|myself|him|his|her|hers|their|them|they|they're|he|she|it|"
    r"its|it's"
    r"|this|that|these|those|here|there|such|same|something|anything|"
    r"everything|things?|stuff|one|ones|both|what|how|why|who|whom|whatever|"
    r"another|other|others|former|latter|either|neither|kinda|idea|else|"
    r"way)\b",
    re.IGNORECASE,
)
DEFINITE_OK = re.compile(
    r"the (?:beach|outdoors|ocean|sea|seaside|mountains?|countryside|"
    r"city|snow|rain|sun|sunshine|gym|water|woods|forests?|piano|guitar|"
    r"drums|violin|cello|flute|"
    r"saxophone|trumpet|harp|ukulele|viola|clarinet|cold|heat|summer|"
    r"winter|autumn|fall|spring|morning|night|park|theat(?:er|re)|opera|"
    r"cinema|arts|desert|colou?r (?:red|blue|green|pink|purple|yellow|"
    r"orange|black|white)|smell of|sound of|"
    r"feeling of|sight of|taste of|history of|(?-i:[A-Z]))\b",
    re.IGNORECASE,
)
WEAK_LIKES = re.compile(
    r"(?:to (?:see|hear|know|think|say|talk about|believe|help|meet|be|"
    r"get|do|have|go|come|call|thank|add|share|show|ask|tell|hang out|"
    r"chat|try)\b(?! [\w-]+ing\b| (?-i:[A-Z])| to the | fishing| (?:music|"
    r"people))"
    r"|being\b|having\b|seeing\b|hearing\b|getting\b|knowing\b|making\b(?= "
    r"(?:a|people)\b)|doing\b|going\b(?! (?:to the|out|for|hiking|camping|"
    r"on))|meeting\b|talking\b|hanging\b|finding\b|when\b|all\b|each\b|"
    r"every\b|any\b|some\b|lots?\b|a (?:lot|good|bit|great|little|ton|"
    r"bunch)\b|more\b|much\b|very\b|about\b|for\b|not\b|no\b|and\b|or\b|"
    r"with\b|on\b|at\b|in\b|of\b|as\b|my (?:new|job|life|time|own)\b|"
    r"crazy\b|absolutely\b|hard(?:er)?$|well$|\w+ly\b$)",
    re.IGNORECASE,
)
VAGUE_PLACE = re.compile(
    r"(?:an? (?:world|society|way|time|place|bubble|dream|state|hurry|"
    r"good|great|bit|few|really)|fear|peace|harmony|hope|the (?:moment|"
    r"past|present|future|now|country\b(?!side)|same|middle of nowhere)|"
    r"general|fact|love|my head|hell|debt|constant)\b",
    re.IGNORECASE,
)
# What says nothing at the end of a value, and prepositions that lost their object.
TAIL = re.compile(
    r"(?:(?:^|[\s,]+)(?:too|either|myself|now|also|again|tho|though|as "
    r"well|anyway|more|most|and|or|in|on|at|for|with|of|the|a|an|to|is|"
    r"are|was|really|very much|lately|recently|together|all the time|"
    r"right|man|so far|by|about|from))+[\s,]*$",
    re.IGNORECASE,
)

NAME_INTRO = re.compile(
    r"\b(?:my name is|my name's|i'm called|i'm|i am|call me)\s+(?P<name>(?-i:[A-Z][a-z]+(?:["
    r"-'][A-Z][a-z]+)?(?:\s[A-Z][a-z]+)?))(?=\s*(?:$|[.,!?;)\n-]|and\s+i\b|"
    r"from\s|by the way|nice to))",
    re.IGNORECASE,
)
SURE_INTRO = re.compile(r"my name|call|i'm called", re.IGNORECASE)
NOT_SELF_NAMES = NOT_PEOPLE | _word_set("""
    sorry good fine ok okay back here great happy sad sure glad ready done well not just so very
    really excited tired busy home single married vegan vegetarian thanks hi hello hey also in on at
    from with going alright available confused bored hungry awesome
    """)
