"""Word classes of plain English that statements are read with, as regular expressions."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def words(text: str) -> str:
    return "(?:" + "|".join(text.split()) + ")"


DIETS = words(
    "vegetarian vegan pescatarian flexitarian gluten-free lactose-intolerant "
    "lactose\\sintolerant teetotal coeliac celiac"
)
STATES = words(
    """
    pregnant retired unemployed self-employed bilingual left-handed right-handed colou?r-?blind deaf
    diabetic asthmatic autistic dyslexic gay lesbian bisexual transgender trans non-binary nonbinary
    religious sober vegan vegetarian
    """
)
MARITAL = words("married single divorced engaged widowed separated")
OCCUPATIONS = words(
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
NATIONALITIES = words(
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
KIN = words(
    """
    husband wife partner boyfriend girlfriend spouse fianc[eé]e? mother father mom mum dad parents
    sister sisters brother brothers siblings twins? son sons daughter daughters child children kids?
    baby\\sgirl baby\\sboy baby grandmother grandfather grandma grandpa grandparents grandson
    granddaughter grandchildren grandkids aunt uncle cousins? niece nephew stepmother stepfather stepson stepdaughter
    godson goddaughter family
    """
)
PETS = words(
    """
    dogs? pupp(?:y|ies) pups? cats? kittens? kitt(?:y|ies) pets? horses? pon(?:y|ies) rabbits?
    bunn(?:y|ies) hamsters? guinea\\spigs? birds? parrots? turtles? tortoises? snakes? fish lizards?
    geckos? iguanas? chickens? goats? ferrets? budgies? cows? sheep pigs?
    """
)
THINGS = words(
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
SHE_KIN = word_set("""
    wife girlfriend mother mom mum sister sisters daughter grandmother grandma granddaughter aunt niece stepmother
    stepdaughter goddaughter
    """)
HE_KIN = word_set("""
    husband boyfriend father dad brother brothers son grandfather grandpa grandson uncle nephew stepfather stepson
    godson
    """)
DRINKS = words(
    "coffee espresso tea alcohol beer wine soda coke milk juice whisky whiskey vodka cola kombucha energy\\sdrinks?"
)
CONDITIONS = words(
    """
    diabetes asthma adhd autism epilepsy arthritis dyslexia anxiety depression insomnia anemia migraines?
    celiac\\sdisease
    coeliac\\sdisease cancer hypertension high\\sblood\\spressure tinnitus eczema psoriasis vertigo hay\\sfever
    a\\sbad\\sback back\\spain lactose\\sintolerance lupus ptsd ocd sciatica sleep\\sapn(?:ea|oea) gout
    """
)
VEHICLES = words("car truck van motorcycle motorbike bike bicycle scooter suv pickup")
COUNT_WORD = (
    r"(?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-(?:one|two|three|four|five|six|seven|eight|nine))?|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
)
NUMBER = r"(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d{1,3}|several|some|no|many)"
NOT_PEOPLE = word_set("""
    he she it this that there they we you who what everyone everybody someone somebody nobody anyone
    one mom mum dad everything nothing life work music english german french spanish my our your his
    her their the a an if when while so and but most some many people kids wife husband sister
    brother another each either neither here google apple where how why whoever which also maybe
    i well yes no yeah ok okay oh actually sorry wait then now just not today yesterday tomorrow tonight last next
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december in on at since after before during for to from with by of is are was were
    thanks thank please hi hey hello guess good great nice cool wow update correction both all these those me us
    only even still again once first finally recently lately currently sometimes usually mostly never always
    christmas easter summer winter spring autumn fall because though although unfortunately luckily sadly
    """)
NOT_SELF_NAMES = NOT_PEOPLE | word_set("""
    sorry good fine ok okay back here great happy sad sure glad ready done well not just so very
    really excited tired busy home single married vegan vegetarian thanks hi hello hey also in on at
    from with going alright available confused bored hungry awesome
    """)
# The attribute that a habit of this verb is kept under.
HABITS = {
    "eat": "eats",
    "drink": "drinks",
    "smoke": "smokes",
    "play": "plays",
    "watch": "watches",
    "use": "uses",
    "drive": "drives",
    "collect": "collects",
    "practise": "practises",
    "practice": "practises",
    "learn": "is learning",
    "take": "takes",
}
