"""What a message states, in a table: text, and (subject, attribute, value, polarity) of each statement in it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from memory_service.extraction.local import extract_local
from memory_service.extraction.types import Candidate, SourceMessage

NOW = datetime(2024, 5, 8, 12, tzinfo=UTC)  # a Wednesday


def extracted(content: str, *, name: str | None = "Ann", before: str | None = None) -> list[Candidate]:
    context = [SourceMessage(0, "user", before, NOW, name)] if before else []
    return extract_local([SourceMessage(1, "user", content, NOW, name)], context=context).candidates


def facts(content: str, *, before: str | None = None) -> list[Candidate]:
    return [c for c in extracted(content, before=before) if c.kind == "semantic" and not c.silent]


def ends(content: str) -> set[tuple[str | None, str | None, str | None]]:
    """What the message ends without saying so: (subject, attribute, value)."""
    return {(c.subject, c.attribute, c.value) for c in extracted(content) if c.silent and c.polarity == "ended"}


STATEMENTS: list[tuple[str, list[tuple[str | None, str | None, str | None, str]]]] = [
    ("I live in Oslo.", [("Ann", "lives in", "Oslo", "holds")]),
    ("I'm based in Oslo", [("Ann", "lives in", "Oslo", "holds")]),
    ("I'm living in Oslo now", [("Ann", "lives in", "Oslo", "holds")]),
    ("My home is in Bergen", [("Ann", "lives in", "Bergen", "holds")]),
    ("I moved from Lisbon to Oslo last March", [("Ann", "lives in", "Oslo", "holds")]),
    ("We relocated to Berlin in 2020.", [("Ann", "lives in", "Berlin", "holds")]),
    ("I've moved back to Leeds", [("Ann", "lives in", "Leeds", "holds")]),
    ("I'm moving to Oslo next month", [("Ann", "plans", "move to Oslo", "holds")]),
    ("I left Lisbon", [("Ann", "lives in", "Lisbon", "ended")]),
    (
        "I work at Acme as a data engineer",
        [("Ann", "works at", "Acme", "holds"), ("Ann", "works as", "data engineer", "holds")],
    ),
    ("I started a new job at Globex last week", [("Ann", "works at", "Globex", "holds")]),
    ("I got hired by Initech", [("Ann", "works at", "Initech", "holds")]),
    (
        "I joined Acme as a data engineer",
        [("Ann", "works at", "Acme", "holds"), ("Ann", "works as", "data engineer", "holds")],
    ),
    ("I'm now a nurse", [("Ann", "works as", "nurse", "holds")]),
    ("I was promoted to head of sales", [("Ann", "works as", "head of sales", "holds")]),
    ("I switched from coffee to tea", [("Ann", "drinks", "tea", "holds")]),
    ("I quit my job at Acme", [("Ann", "works at", "Acme", "ended")]),
    ("I got laid off from Acme yesterday", [("Ann", "works at", "Acme", "ended")]),
    ("I was fired", [("Ann", "works at", None, "ended")]),
    ("I resigned", [("Ann", "works at", None, "ended")]),
    ("I retired last year", [("Ann", "employment", "retired", "holds")]),
    (
        "I'm married to Sara",
        [("Ann", "marital status", "married to Sara", "holds"), ("Ann", "partner", "Sara", "holds")],
    ),
    ("We got married in June", [("Ann", "marital status", "married", "holds")]),
    (
        "Tom and Sara got married",
        [
            ("Tom", "marital status", "married to Sara", "holds"),
            ("Tom", "partner", "Sara", "holds"),
            ("Sara", "marital status", "married to Tom", "holds"),
            ("Sara", "partner", "Tom", "holds"),
        ],
    ),
    ("I broke up with Tom", [("Ann", "partner", "Tom", "ended")]),
    ("I'm vegan now", [("Ann", "diet", "vegan", "holds")]),
    ("I eat meat again", [("Ann", "eats", "meat", "holds")]),
    ("I gave up smoking", [("Ann", "smokes", None, "ended")]),
    ("I stopped drinking coffee", [("Ann", "drinks", "coffee", "ended")]),
    ("I took up climbing", [("Ann", "practises", "climbing", "holds")]),
    ("I hate cilantro", [("Ann", "likes", "cilantro", "ended")]),
    ("I don't own a car", [("Ann", "owns", "a car", "ended")]),
    ("I no longer have a dog", [("Ann", "has", "a dog", "ended")]),
    ("I don't live in Bergen any more", [("Ann", "lives in", "Bergen", "ended")]),
    ("I used to work at Acme", [("Ann", "works at", "Acme", "ended")]),
    ("I have a dog named Rex", [("Ann", "has", "a dog named Rex", "holds")]),
    ("We adopted a cat called Momo", [("Ann", "has", "a cat called Momo", "holds")]),
    ("Rex died", [("Rex", "is", "dead", "holds")]),
    ("I sold my Honda and bought a Mazda", [("Ann", "owns", "Honda", "ended"), ("Ann", "owns", "a Mazda", "holds")]),
    ("My car is a Mazda", [("Ann", "drives", "a Mazda", "holds")]),
    ("My phone number is 555-1234", [("Ann", "phone number", "555-1234", "holds")]),
    ("My new e-mail is ann@new.org", [("Ann", "email", "ann@new.org", "holds")]),
    ("I turned 30 yesterday", [("Ann", "age", "30", "holds")]),
    ("I'm 31", [("Ann", "age", "31", "holds")]),
    ("My sister Anna lives in Rome.", [("Ann's sister Anna", "lives in", "Rome", "holds")]),
    ("My sister, Anna, moved to Milan.", [("Ann's sister Anna", "lives in", "Milan", "holds")]),
    ("Anna, my sister, works at NHS.", [("Ann's sister Anna", "works at", "NHS", "holds")]),
    ("Tom moved to Leeds", [("Tom", "lives in", "Leeds", "holds")]),
    ("Priya works at NHS now", [("Priya", "works at", "NHS", "holds")]),
    (
        "Tom moved to Leeds. He's a nurse now.",
        [("Tom", "lives in", "Leeds", "holds"), ("Tom", "works as", "nurse", "holds")],
    ),
    ("I worked at Acme from 2010 to 2015", [("Ann", "works at", "Acme", "holds")]),
    ("We're going to Rome in May", [("Ann", "plans", "go to Rome", "holds")]),
    ("I plan to run a marathon next spring", [("Ann", "plans", "run a marathon", "holds")]),
    ("I booked a flight to Rome for June", [("Ann", "plans", "a flight to Rome", "holds")]),
    ("I signed up for a pottery class", [("Ann", "plans", "a pottery class", "holds")]),
    ("We went to Rome", [("Ann", "did", "go to Rome", "holds")]),
    ("I ran the marathon on Sunday", [("Ann", "did", "run the marathon", "holds")]),
    ("We cancelled the trip to Rome", [("Ann", "plans", "trip to Rome", "ended")]),
    ("We're not going to Rome after all", [("Ann", "plans", "go to Rome", "ended")]),
    ("The trip to Rome fell through", [("Ann", "plans", "trip to Rome", "ended")]),
    ("I didn't get to run the marathon", [("Ann", "plans", "run the marathon", "ended")]),
    ("I have yoga every Tuesday", [("Ann", "does regularly", "yoga every Tuesday", "holds")]),
    ("We play cards on Fridays", [("Ann", "does regularly", "play cards on Fridays", "holds")]),
    ("Yoga moved to Thursdays", [("Ann", "does regularly", "Yoga on Thursdays", "holds")]),
    ("Actually, I live in Bergen.", [("Ann", "lives in", "Bergen", "holds")]),
    ("it's Tuesday, not Monday", [(None, None, "Tuesday", "holds")]),
    ("I meant Hanna, not Anna", [(None, None, "Hanna", "holds")]),
    ("I said Monday but it's Tuesday", [(None, None, "Tuesday", "holds")]),
    ("I never lived in Paris", [("Ann", "lives in", "Paris", "never")]),
    ("I don't have a brother", [("Ann", "has", "a brother", "never")]),
    ("The chairperson of Fatah is Mahmoud Abbas.", [("Fatah", "chairperson", "Mahmoud Abbas", "holds")]),
    ("Thomas Kyd was born in the city of London.", [("Thomas Kyd", "born in", "London", "holds")]),
    ("petanque was created in the country of France", [("petanque", "created in the country of", "France", "holds")]),
    ("The meeting is on Tuesday", [("the meeting", "date", "Tuesday", "holds")]),
    ("The wifi password is hunter2", [("the wifi password", "is", "hunter2", "holds")]),
    ("Our standup is at 9:30", [("the standup", "time", "9:30", "holds")]),
    ("The dentist appointment is on 3 May", [("the dentist appointment", "date", "3 May", "holds")]),
    ("Tom says he's vegan", [("Tom", "diet", "vegan", "holds")]),
    ("I'm going to run the marathon in October", [("Ann", "plans", "run the marathon", "holds")]),
    ("The meeting was moved to Thursday", [("the meeting", "date", "Thursday", "holds")]),
    ("yoga moved from Tuesdays to Thursdays", [("Ann", "does regularly", "yoga on Thursdays", "holds")]),
    ("My dog Rex died last week", [("Ann's dog Rex", "is", "dead", "holds")]),
    (
        "My wife and I moved to Oslo and adopted a dog named Momo",
        [("Ann", "lives in", "Oslo", "holds"), ("Ann", "has", "a dog named Momo", "holds")],
    ),
    ("Last March I moved to Oslo.", [("Ann", "lives in", "Oslo", "holds")]),
    ("In 2019, we moved from Leeds to York.", [("Ann", "lives in", "York", "holds")]),
    (
        "Tom and Sara got married. They live in Leeds.",
        [
            ("Tom", "marital status", "married to Sara", "holds"),
            ("Tom", "partner", "Sara", "holds"),
            ("Sara", "marital status", "married to Tom", "holds"),
            ("Sara", "partner", "Tom", "holds"),
            ("Tom and Sara", "lives in", "Leeds", "holds"),
        ],
    ),
    ("I live in Oslo, not Bergen.", [("Ann", "lives in", "Oslo", "holds")]),
    ("My sister's name is Hanna, not Anna.", [("Ann's sister", "name", "Hanna", "holds")]),
    (
        "I don't live in Bergen, I live in Oslo.",
        [("Ann", "lives in", "Bergen", "ended"), ("Ann", "lives in", "Oslo", "holds")],
    ),
    ("Sorry, I misspoke. I work at Globex.", [("Ann", "works at", "Globex", "holds")]),
    ("No wait, my birthday is on 3 May.", [("Ann", "birthday", "3 May", "holds")]),
    ("I have diabetes.", [("Ann", "suffers from", "diabetes", "holds")]),
    ("I was diagnosed with asthma in 2020", [("Ann", "suffers from", "asthma", "holds")]),
    ("My boss is Karin", [("Ann", "boss", "Karin", "holds")]),
    ("My wife is Sara", [("Ann", "partner", "Sara", "holds")]),
    ("I go by Sam", [("Ann", "nickname", "Sam", "holds")]),
    ("I used to love sushi but now I hate it", [("Ann", "likes", "sushi", "ended")]),
    ("I don't like olives anymore", [("Ann", "likes", "olives", "ended")]),
    ("I speak Norwegian and Dutch", [("Ann", "speaks", "Norwegian and Dutch", "holds")]),
    ("I've lived in Oslo since 2015", [("Ann", "lives in", "Oslo", "holds")]),
    ("I've been a nurse for ten years", [("Ann", "works as", "nurse", "holds")]),
    ("I've been playing the violin for ten years", [("Ann", "plays", "the violin", "holds")]),
    ("I've never been to Rome", [("Ann", "did", "go to Rome", "never")]),
    ("I went back to university", [("Ann", "did", "go back to university", "holds")]),
    ("I'm pregnant", [("Ann", "is", "pregnant", "holds")]),
    ("We're expecting a baby in June", [("Ann", "plans", "have a baby", "holds")]),
    ("I bought a house in Leeds", [("Ann", "owns", "a house in Leeds", "holds")]),
    ("I'll visit Rome next week", [("Ann", "plans", "visit Rome", "holds")]),
    ("I want to learn Spanish", [("Ann", "plans", "learn Spanish", "holds")]),
    ("I hope to visit Japan", [("Ann", "plans", "visit Japan", "holds")]),
    ("I reside in Lyon", [("Ann", "lives in", "Lyon", "holds")]),
    ("We live near Ghent", [("Ann", "lives in", "Ghent", "holds")]),
    ("I settled in Porto in 2021", [("Ann", "lives in", "Porto", "holds")]),
    ("I emigrated from Poland to Canada in 2005", [("Ann", "lives in", "Canada", "holds")]),
    ("I moved out of Leeds", [("Ann", "lives in", "Leeds", "ended")]),
    ("We're not moving to Oslo after all", [("Ann", "plans", "move to Oslo", "ended")]),
    ("I haven't moved to Oslo", [("Ann", "plans", "move to Oslo", "ended")]),
    ("I work for a bank", [("Ann", "works at", "a bank", "holds")]),
    ("I work in finance", [("Ann", "works in", "finance", "holds")]),
    ("I work from home", [("Ann", "works", "from home", "holds")]),
    (
        "I started at Acme as an engineer in March",
        [("Ann", "works at", "Acme", "holds"), ("Ann", "works as", "engineer", "holds")],
    ),
    ("I got a job at Initech", [("Ann", "works at", "Initech", "holds")]),
    ("I landed a job as a translator", [("Ann", "works as", "translator", "holds")]),
    ("I accepted a position at the city library", [("Ann", "works at", "the city library", "holds")]),
    (
        "I was hired by Acme as a designer",
        [("Ann", "works at", "Acme", "holds"), ("Ann", "works as", "designer", "holds")],
    ),
    ("I resigned from Globex", [("Ann", "works at", "Globex", "ended")]),
    ("I lost my job", [("Ann", "works at", None, "ended")]),
    ("I quit", [("Ann", "works at", None, "ended")]),
    ("I was laid off", [("Ann", "works at", None, "ended")]),
    ("I'm unemployed", [("Ann", "employment", "unemployed", "holds")]),
    ("I'm retired", [("Ann", "employment", "retired", "holds")]),
    ("I changed jobs from Acme to Globex", [("Ann", "works at", "Globex", "holds")]),
    ("I switched from teaching to nursing", [("Ann", "works as", "nursing", "holds")]),
    ("I became a paramedic", [("Ann", "works as", "paramedic", "holds")]),
    ("I'm studying law", [("Ann", "studies", "law", "holds")]),
    ("I enrolled at Uppsala University", [("Ann", "studies at", "Uppsala University", "holds")]),
    ("I graduated from MIT in 2019", [("Ann", "studied", "graduated from MIT", "holds")]),
    ("I dropped out of college", [("Ann", "studies at", "college", "ended")]),
    (
        "I'm engaged to Lena",
        [("Ann", "marital status", "engaged to Lena", "holds"), ("Ann", "partner", "Lena", "holds")],
    ),
    ("I got divorced last year", [("Ann", "marital status", "divorced", "holds")]),
    ("I'm single", [("Ann", "marital status", "single", "holds")]),
    ("I'm dating Marco", [("Ann", "partner", "Marco", "holds")]),
    ("My husband's name is Paulo", [("Ann", "partner", "Paulo", "holds")]),
    ("I went vegan", [("Ann", "diet", "vegan", "holds")]),
    ("I'm not vegan anymore", [("Ann", "diet", "vegan", "ended")]),
    ("I don't eat pork", [("Ann", "eats", "pork", "ended")]),
    ("I never eat meat", [("Ann", "eats", "meat", "ended")]),
    ("I quit smoking", [("Ann", "smokes", None, "ended")]),
    ("I stopped eating meat", [("Ann", "eats", "meat", "ended")]),
    ("I started playing the cello", [("Ann", "plays", "the cello", "holds")]),
    ("I started learning Korean", [("Ann", "is learning", "Korean", "holds")]),
    ("I don't smoke", [("Ann", "smokes", None, "ended")]),
    ("I like jazz", [("Ann", "likes", "jazz", "holds")]),
    ("I'm into pottery", [("Ann", "likes", "pottery", "holds")]),
    ("I'm not a fan of opera", [("Ann", "likes", "opera", "ended")]),
    ("I can't stand mushrooms", [("Ann", "likes", "mushrooms", "ended")]),
    ("I no longer like opera", [("Ann", "likes", "opera", "ended")]),
    ("I prefer tea over coffee", [("Ann", "prefers", "tea", "holds")]),
    ("I have two cats", [("Ann", "has", "two cats", "holds")]),
    ("We have a son and a daughter", [("Ann", "has", "a son", "holds"), ("Ann", "has", "a daughter", "holds")]),
    ("I don't have a car", [("Ann", "has", "a car", "ended")]),
    ("I own a boat", [("Ann", "owns", "a boat", "holds")]),
    ("I've got a tortoise", [("Ann", "has", "a tortoise", "holds")]),
    ("I lost my dog", [("Ann", "has", "dog", "ended")]),
    ("My bike was stolen", [("Ann", "owns", "bike", "ended")]),
    ("I got rid of my piano", [("Ann", "owns", "piano", "ended")]),
    ("My address is 12 Hill Road", [("Ann", "address", "12 Hill Road", "holds")]),
    ("My favourite film is Alien", [("Ann", "favourite film", "Alien", "holds")]),
    ("My birthday is 3 July", [("Ann", "birthday", "3 July", "holds")]),
    ("I'm allergic to nuts", [("Ann", "is allergic to", "nuts", "holds")]),
    ("I'm no longer allergic to eggs", [("Ann", "is allergic to", "eggs", "ended")]),
    ("I got over my asthma", [("Ann", "suffers from", "asthma", "ended")]),
    ("I'm Norwegian", [("Ann", "nationality", "Norwegian", "holds")]),
    ("I'm Catholic", [("Ann", "religion", "Catholic", "holds")]),
    ("I was born in Bergen", [("Ann", "born in", "Bergen", "holds")]),
    ("I grew up in Hull", [("Ann", "grew up in", "Hull", "holds")]),
    ("I can speak Italian", [("Ann", "speaks", "Italian", "holds")]),
    ("I'm learning Greek", [("Ann", "is learning", "Greek", "holds")]),
    ("I go running every morning", [("Ann", "does regularly", "go running every morning", "holds")]),
    ("We have a family dinner every Sunday", [("Ann", "does regularly", "family dinner every Sunday", "holds")]),
    ("I do yoga every Thursday now", [("Ann", "does regularly", "do yoga every Thursday", "holds")]),
    ("I volunteer at a shelter", [("Ann", "volunteers at", "a shelter", "holds")]),
    ("I joined a choir", [("Ann", "member of", "choir", "holds")]),
    ("I left the choir", [("Ann", "member of", "choir", "ended")]),
    ("My brother Ben works as a chef", [("Ann's brother Ben", "works as", "chef", "holds")]),
    ("My parents live in Kent", [("Ann's parents", "lives in", "Kent", "holds")]),
    ("Ben's sister lives in Lima", [("Ben's sister", "lives in", "Lima", "holds")]),
    ("Priya's favourite colour is red", [("Priya", "favourite colour", "red", "holds")]),
    ("Tom and I broke up", [("Ann", "partner", "Tom", "ended")]),
    ("My aunt died in 2020", [("Ann's aunt", "is", "dead", "holds")]),
    ("Mia plays the harp", [("Mia", "plays", "the harp", "holds")]),
    ("Omar is allergic to penicillin", [("Omar", "is allergic to", "penicillin", "holds")]),
    ("Lena speaks Dutch", [("Lena", "speaks", "Dutch", "holds")]),
    ("Mr Lee lives in Cork", [("Mr Lee", "lives in", "Cork", "holds")]),
    ("We're visiting my aunt in Bath next week", [("Ann", "plans", "visit Ann's aunt in Bath", "holds")]),
    ("I'm flying to Tokyo on Friday", [("Ann", "plans", "fly to Tokyo", "holds")]),
    ("I decided to study medicine", [("Ann", "plans", "study medicine", "holds")]),
    ("I decided not to buy the house", [("Ann", "plans", "buy the house", "ended")]),
    ("I have a dentist appointment on Tuesday", [("Ann", "plans", "a dentist appointment", "holds")]),
    ("I have tickets for the opera", [("Ann", "plans", "tickets for the opera", "holds")]),
    ("We called off the wedding", [("Ann", "plans", "wedding", "ended")]),
    ("The concert was cancelled", [("Ann", "plans", "concert", "ended")]),
    ("We visited Petra last year", [("Ann", "did", "visit Petra", "holds")]),
    ("I climbed Ben Nevis in 2022", [("Ann", "did", "climb Ben Nevis", "holds")]),
    ("I've been to Japan", [("Ann", "did", "go to Japan", "holds")]),
    ("I never made it to the concert", [("Ann", "plans", "go to the concert", "ended")]),
    ("No, I live in Hamar.", [("Ann", "lives in", "Hamar", "holds")]),
    ("Correction: my number is 555 0200.", [("Ann", "phone number", "555 0200", "holds")]),
    ("Scratch that. I'm 32.", [("Ann", "age", "32", "holds")]),
    ("It's Hanna, not Anna.", [(None, None, "Hanna", "holds")]),
    ("I said Monday but I meant Tuesday.", [(None, None, "Tuesday", "holds")]),
    ("The deadline is 4 June", [("the deadline", "date", "4 June", "holds")]),
    ("Our office is in Room 12", [("the office", "place", "Room 12", "holds")]),
    ("The code for the gate is 4417", [("the code for the gate", "is", "4417", "holds")]),
    ("Winter is my favourite season", [("Ann", "favourite season", "Winter", "holds")]),
    ("The capital of Norway is Oslo.", [("Norway", "capital", "Oslo", "holds")]),
    ("Chanel was founded by Coco Chanel.", [("Chanel", "founded by", "Coco Chanel", "holds")]),
    (
        "Lima is located in the continent of South America.",
        [("Lima", "located in the continent of", "South America", "holds")],
    ),
    ("Ada Lovelace's child is Byron King.", [("Ada Lovelace", "child", "Byron King", "holds")]),
    (
        "The headquarters of Acme is located in the city of Leeds.",
        [("Acme", "headquarters located in the city of", "Leeds", "holds")],
    ),
]


@pytest.mark.parametrize(("content", "expected"), STATEMENTS)
def test_it_reads(content: str, expected: list[tuple[str | None, str | None, str | None, str]]) -> None:
    assert [(c.subject, c.attribute, c.value, c.polarity) for c in facts(content)] == expected


NOTHING = [
    "Do I live in Oslo?",
    "Should I quit my job?",
    "If I lived in Oslo I'd ski",
    "I'll move to Oslo if I get the job",
    "Unless I move to Oslo I'll stay",
    "I wish I lived in Rome",
    "I wish I had a dog",
    "I would love to live in Rome",
    "I'd love to adopt a cat",
    "I could move to Rome",
    "I might move to Rome",
    "Maybe I'll move to Rome",
    "Perhaps I should become a nurse",
    "I almost moved to Rome",
    "I nearly bought a Honda",
    "She said I live in the past",
    "They say I should move to Rome",
    "They say I'm a vegan",
    "People think I'm a doctor",
    "Everyone says I live in a bubble",
    "According to my aunt I love opera",
    "I live on Mars, just kidding",
    "I'm the queen of England, lol jk",
    "I love being stuck in traffic, said no one ever",
    "Yeah right, I live in a castle",
    "In the story, I live on Mars. I have two robots.",
    "In my dream I lived in Paris",
    "I dreamt that I lived in Paris",
    "I had a dream that I moved to Rome",
    "My character lives in Rivendell",
    "My character is a nurse",
    "In the game I own a castle",
    "In this movie I'm a doctor",
    "In my novel the hero works at a bank",
    "Let's pretend I live in Rome",
    "Imagine I have a dog",
    "Suppose I quit my job",
    "Pretend I'm a pirate",
    "The lyrics go I was born in the USA",
    '"I live in Paris" was the first line',
    "He asked, I love jazz or not",
    'My neighbour keeps saying "I was born in Vienna"',
    "I live in fear",
    "I love it",
    "I love your dog",
    "I have a question",
    "I have a meeting",
    "I like that",
    "I love to",
    "Maybe I like jazz",
    "I love how calm it is",
    "I'm a bit tired",
    "I love the painting",
    "I'm so happy",
    "Music plays the main role",
    "When I was small I lived in Rome",
    "I was thinking about moving to Rome",
    "I was about to quit my job",
    "I was going to adopt a cat",
    "I had planned to run a marathon",
    "I should start running",
    "I must stop smoking",
    "I can't wait to move to Rome",
    "I'm thinking of quitting my job",
    "Tell me if I live in Rome",
    "You live in Oslo",
    "You should quit your job",
    "You said you love jazz",
    "What if I moved to Oslo?",
    "Where does Tom live?",
    "Does Tom work at Acme",
    "Who moved to Leeds",
    "Someone moved to Leeds",
    "Everyone loves pizza",
    "Nobody lives in Leeds",
    "It moved to Leeds",
    "That works for me",
    "This works at night",
    "The movie is great",
    "The weather is nice",
    "The best part is the ending",
    "The problem is me",
    "The food was amazing",
    "The end of the day is near",
    "The rest of the team is fine",
    "The name of the game is patience",
    "Running is fun",
    "Work is hard",
    "Life is short",
    "I got it",
    "I got this",
    "I got to go",
    "I left early",
    "I left the house at nine",
    "I left my keys at home",
    "I started crying",
    "I started to feel sick",
    "I stopped by the shop",
    "I gave up hope",
    "I gave up on it",
    "I took the bus",
    "I moved the couch to the wall",
    "I moved on",
    "I was moved to tears",
    "I moved to the next level",
    "I joined the call late",
    "I quit the app",
    "I broke the vase",
    "I passed the salt",
    "I turned left",
    "I turned the light off",
    "I changed my shirt",
    "I switched it off",
    "I sold out",
    "I lost my keys",
    "I lost my temper",
    "I bought milk",
    "I bought it",
    "I got a headache",
    "I'll be there",
    "I'll see",
    "I'll take it",
    "I'm going to bed",
    "I'm going to be late",
    "I'm going now",
    "Will do",
    "I was wrong",
    "Not sure",
    "It's cold, not warm at all",
    "I'm not sure but it's fine",
    "It's great, not bad",
    "Sorry, not sorry",
    "I meant it",
    "I said so",
    "Congrats on the new job",
    "Happy birthday Tom",
    "Thanks, Tom",
    "Have you ever lived in Rome",
    "Would you say I'm a nurse",
]


@pytest.mark.parametrize("content", NOTHING)
def test_it_does_not_read(content: str) -> None:
    assert [c for c in extracted(content) if c.kind == "semantic"] == []


@pytest.mark.parametrize(
    ("content", "ended"),
    [
        ("I moved from Lisbon to Oslo", ("Ann", "lives in", "Lisbon")),
        ("We went to Rome", ("Ann", "plans", "go to Rome")),
        ("I was fired", ("Ann", "works as", None)),
        ("I switched from coffee to tea", ("Ann", "drinks", "coffee")),
        ("Rex died", ("Ann", "has", "Rex")),
        ("I eat meat again", ("Ann", "diet", None)),
        ("I sold my Honda", ("Ann", "drives", "Honda")),
        ("I got divorced", ("Ann", "partner", None)),
        ("I graduated from MIT", ("Ann", "studies at", "MIT")),
        ("I do yoga every Thursday now", ("Ann", "does regularly", "do yoga")),
        ("Yoga moved to Thursdays", ("Ann", "does regularly", "Yoga")),
    ],
)
def test_it_ends_silently_what_a_change_ends(content: str, ended: tuple[str, str, str | None]) -> None:
    assert ended in ends(content)


@pytest.mark.parametrize(
    ("content", "since", "until"),
    [
        ("I moved from Lisbon to Oslo last March", datetime(2024, 3, 1, tzinfo=UTC), None),
        ("Last March I moved to Oslo", datetime(2024, 3, 1, tzinfo=UTC), None),
        ("I worked at Acme from 2010 to 2015", datetime(2010, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC)),
        ("I lived in Rome in 2012", datetime(2012, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)),
        ("We're going to Rome next month", datetime(2024, 6, 1, tzinfo=UTC), None),
        ("The meeting was moved to Thursday", datetime(2024, 5, 9, tzinfo=UTC), None),
        ("I have yoga every Tuesday", None, None),
        ("I've lived in Oslo since 2015", datetime(2015, 1, 1, tzinfo=UTC), None),
    ],
)
def test_it_dates_statements(content: str, since: datetime | None, until: datetime | None) -> None:
    (fact,) = facts(content)
    assert (fact.valid_at, fact.valid_until) == (since, until)
    assert fact.polarity == "holds"


@pytest.mark.parametrize(
    ("content", "value", "instead_of"),
    [
        ("It's Tuesday, not Monday", "Tuesday", "Monday"),
        ("I said Monday but it's Tuesday", "Tuesday", "Monday"),
        ("I meant Hanna, not Anna", "Hanna", "Anna"),
        ("Not Monday but Tuesday, sorry", None, None),
        ("I live in Oslo, not Bergen", "Oslo", "Bergen"),
        ("Sorry, I misspoke. I work at Globex.", "Globex", None),
        ("Actually, I live in Bergen", "Bergen", None),
        ("No wait, my birthday is on 3 May", "3 May", None),
        ("I said I live in Oslo, but I live in Bergen", "Bergen", None),
    ],
)
def test_it_marks_corrections(content: str, value: str | None, instead_of: str | None) -> None:
    found = facts(content)
    if value is None:
        assert found == []
        return
    assert [(c.value, c.instead_of, c.corrects) for c in found] == [(value, instead_of, True)]


def test_a_plain_statement_takes_nothing_back() -> None:
    assert [c.corrects for c in facts("I live in Oslo")] == [False]


@pytest.mark.parametrize(
    ("before", "content", "expected"),
    [
        (None, "Tom moved to Leeds. He works as a nurse.", ["Tom", "Tom"]),
        ("I met Priya yesterday.", "She works at Acme.", ["Priya"]),
        ("Tom met Bill.", "He moved to Leeds.", []),
        (None, "My sister Anna called. She lives in Rome now.", ["Ann's sister Anna"]),
        (None, "My sister Anna called. He lives in Rome now.", []),
        (None, "She lives in Rome.", []),
        (None, "Tom and Sara met. They live in York.", ["Tom and Sara"]),
    ],
)
def test_a_pronoun_means_the_one_person_named_before(before: str | None, content: str, expected: list[str]) -> None:
    assert [c.subject for c in facts(content, before=before)] == expected


@pytest.mark.parametrize(
    "content", ["My sister Anna moved to Milan", "My sister, Anna, moved to Milan", "Anna, my sister, moved to Milan"]
)
def test_kin_with_a_name_is_one_subject_however_it_is_put(content: str) -> None:
    (fact,) = facts(content)
    assert fact.subject == "Ann's sister Anna"


def test_hearsay_is_of_the_one_who_says_it_and_unsure() -> None:
    (fact,) = facts("Tom says he's vegan")
    assert (fact.subject, fact.value, fact.confidence, fact.turn) == ("Tom", "vegan", 0.5, False)
    assert fact.text == "Tom says he's vegan"


def test_two_of_a_kind_may_hold_at_once_if_it_says_also() -> None:
    assert [c.single for c in facts("I also work at a cinema")] == [False]


@pytest.mark.parametrize(
    ("content", "covered"),
    [
        ("I live in Oslo.", True),
        ("Well, hi! I live in Oslo now, thanks.", True),
        ("I live in Oslo, close to the river.", True),
        ("I moved to Oslo and started a new job at Acme.", True),
        ("I live in Oslo. The ferry was late.", False),
        ("I live in Oslo. And you?", False),
        ("It rained all day, I live in Oslo.", False),
        ("Tom says he's vegan", False),
    ],
)
def test_statements_stand_for_a_turn_that_says_nothing_else(content: str, covered: bool) -> None:
    found = extracted(content)
    assert any(c.kind == "episodic" for c in found) is not covered
    assert sum(c.turn for c in found) == covered


def test_a_list_of_facts_gives_one_single_statement_a_line() -> None:
    lines = ["Here is a list of facts:", "0. Fatah was founded by Yasser Arafat.", "1. The capital of Norway is Oslo.",
             "2. Anna Lee is a citizen of Norway.", "3. petanque was created in the country of France.",
             "4. The capital of Norway is Bergen."]  # fmt: skip
    found = extracted("\n".join(lines), name=None)
    assert [(c.subject, c.attribute, c.value) for c in found] == [
        ("Fatah", "founded by", "Yasser Arafat"),
        ("Norway", "capital", "Oslo"),
        ("Anna Lee", "citizen of", "Norway"),
        ("petanque", "created in the country of", "France"),
        ("Norway", "capital", "Bergen"),
    ]
    assert all(c.single for c in found)
    assert [c.turn for c in found] == [True, False, False, False, False]


HOSTILE = (
    "The capital of ", "I said Monday but ", "not X but Y ", "my sister ", "Tom and ", "from A to ", "every Monday ",
    "is is is ", "1. a\n", "The the of is ", "'s ", "Anna, my sister, ", "I went to ", "I moved from ", "My a b is ",
)  # fmt: skip


def test_hostile_input_is_read_in_time() -> None:
    started = time.perf_counter()
    for piece in HOSTILE:
        extracted(piece * (50_000 // len(piece)))
    assert time.perf_counter() - started < 20
