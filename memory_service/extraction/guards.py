"""What keeps a sentence from being a statement: questions, conditions, hearsay, jokes, fiction."""

from __future__ import annotations

import re

# A point ends a sentence, but not in "Dr. Lee", "J. R. Smith", "9.30".
SENTENCE = re.compile(
    r"[^.!?\n]+(?:(?:[.!?](?=\w)|(?:(?<=\b(?:Mr|Dr|Ms|St|Jr|vs))|(?<=\b(?:Mrs|Inc|Ltd))|(?<=\bProf)|"
    r"(?<=\b[A-HJ-Z]))\.(?=\s))[^.!?\n]*)*"
    r"(?P<end>[.!?]*)"
)
HYPOTHETICAL = re.compile(
    r"\b(?:if|unless|wish(?:es|ed)?|imagine|suppose|supposing|pretend(?:ing)?|"
    r"hypothetically|maybe|perhaps|might|whether|would|wouldn't|in case|"
    r"when|whenever"
    r"|as though|once|until|before|after|while|in my dreams?|act like)\b|'d\b",
    re.IGNORECASE,
)
REPORTED = re.compile(
    r"\b(?:said(?! (?:no|yes)\b)|says?|saying|told|tells?|asked|asks|thinks|thought|claims?|"
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

# All that follows in the message is told of another world.
FICTION = re.compile(
    r"\b(?:(?:in|from|for|of|about|during|inside) (?:the|a|an|my|this|our|that|his|her|"
    r"some) (?:[\w-]+ ){0,2}?(?:story|dream|nightmare|game|movie|film|novel|"
    r"play|series|sitcom|role-?play|campaign|simulation|screenplay|script|fan ?fic\w*|fantasy|comic|"
    r"musical|tv show|show|book|poem|song|world i'm building|alternate universe)"
    r"|my (?:[\w-]+ )?(?:character|avatar|protagonist|narrator|alter ego|sim|persona)|once upon a time|"
    r"role-?play\w*|let's (?:pretend|say|imagine)|let's play(?=\s*[:,–-]|\s(?:make.believe|a (?:game|scene)|"
    r"pirates|house|doctor)\b)|"
    r"(?:in|for) this (?:scenario|game|scene|exercise|role)|(?:you are|you're) an? [\w ]{2,30}? and i(?:'m|"
    r" am) an?|(?:play|playing) the (?:part|role) of|"
    r"pretend(?:ing)?|i (?:had a|keep having a|have this) (?:\w+ )?(?:dream|nightmare)|i (?:dreamt|"
    r"dreamed|imagined|fantasi[sz]ed?|daydream\w*)|"
    r"(?:the )?lyrics|song goes|sings? (?:that|about)|chorus|hypothetical\w*|thought experiment|"
    r"in another life|alternate reality|in a parallel|"
    r"i(?:'m| am) writing (?:a|an|this|my)|i wrote a (?:story|song|poem|novel)|(?:first|next|"
    r"opening) (?:line|chapter|scene|sentence)|monologue|as (?:a )?(?:character|joke)|for a joke)\b",
    re.IGNORECASE,
)
SARCASM = re.compile(
    r"\b(?:yeah,? right|as if|said no one|oh sure|and i'm the (?:queen|king|pope|president|tooth fairy|"
    r"easter bunny|emperor)|and i am the (?:queen|king|pope)|"
    r"and pigs (?:can )?fly|in my dreams|jokes? aside|ha,? (?:no|not)|in your dreams|totally not|"
    r"/sarcasm|obviously not|just messing|pulling your leg|april fools?|not!)(?!\w)",
    re.IGNORECASE,
)

NAME_INTRO = re.compile(
    r"\b(?:my name is|my name's|i'm called|i'm|i am|call me)\s+(?P<name>(?-i:[A-Z][a-z]+(?:["
    r"-'][A-Z][a-z]+)?(?:\s[A-Z][a-z]+)?))(?=\s*(?:$|[.,!?;)\n-]|and\s+i\b|"
    r"from\s|by the way|nice to))",
    re.IGNORECASE,
)
SURE_INTRO = re.compile(r"my name|call|i'm called", re.IGNORECASE)
