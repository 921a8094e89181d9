"""Where sentences end: a table of texts, with | where one ends and the next begins."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunking.sentences import is_without_capitals, sentence_ends, sentence_spans

TABLE = {
    "plain": "She left. |He stayed! |Did they meet? |Perhaps.",
    "titles": "Dr. Brown met Mrs. Lee and Prof. Kim at St. Mary's. |Gen. Grant came too.",
    "initials": "J. R. R. Tolkien met C. S. Lewis. |George W. Bush did not.",
    "initial that ends": "It was plan B. |The others failed. |So am I. |He left.",
    "latin": "Bring fruit, e.g. Apples, i.e. Braeburn, vs. Pears. |Done.",
    "numbers of things": "See No. 5, fig. 3, pp. 12 and vol. 2. |He said no. |Then he left.",
    "no before a capital": "Ask him. |He said no. |Peter agreed.",
    "months": "It was Jan. 5 or Dec. 24. |Then came spring.",
    "etc inside": "Nails, screws, etc. are sold. |Come in.",
    "etc at the end": "We sell nails, screws, etc. |The shop is open.",
    "company": "Acme Inc. |They sell tools. |Acme Inc. Tools are sold.",
    "states": "He lives in the U.S. |The weather is fine. |The U.S. Army came at 5 p.m. |It left.",
    "degrees": "Ann Lee, Ph.D. Candidate, spoke. |We listened.",
    "decimals": "Pi is 3.14 and e is 2.71. |Both are irrational.",
    "versions": "Use Python 3.11.2 or later. |It is 1.5 times faster.",
    "urls": "See https://a.example/b.html?c=d.e and a.b@c.example. |It helps.",
    "files": "Open main.py or README.md. |Then run it.",
    "ellipsis goes on": "He waited... and waited. |Nothing came.",
    "ellipsis ends": "He waited... |Nothing came… |He left.",
    "marks in a row": "What?! |Really!!! |Yes.",
    "quotes": '"Stop!" he cried. |"Why?" she asked. |"Because."',
    "quotes that end": 'He said: "I am done." |She was not.',
    "typographic quotes": "“Go.” |“No.” |‘Well.’ |So it went.",
    "german quotes": "„Komm.“ |Er kam. |»Gut.« |Alles war z.B. Blau.",
    "french quotes": "« Viens. » |Il vint. |« Bien ! » |Voilà.",
    "spanish": "¿Vienes? |¡Claro! |Vamos.",
    "brackets": "It works (see below). |(It did not before.) |Now it does.",
    "space before the mark": "Tu viens ? |Oui !",
    "missing space": "He left.|Then she came. |It rained!|The end?|No, it went on.",
    "code is no missing space": "Call asyncio.Queue or System.Out.Print now. |Then wait.",
    "numbered list": "1. Wash the dishes.\n|2. Dry them.\n|10. Go home.",
    "lettered list": "a. First thing.\n|b. Second thing.",
    "nested numbers": "1.2. Scope of this.\n|1.3. Terms.",
    "bullets": "- milk\n|- bread\n|* Eggs",
    "sentence that ends in a number": "It was in 1999. |Nobody knew. |He was 7. |She was 8.",
    "lines": "Title\n|Another line\n|Third",
    "wrapped lines": "The cat sat on the\nmat and slept there\nall day. |Then it left.",
    "wrapped before a name": "He had not seen that the old house of the\nBrown family was sold. |Then he did.",
    "wrapped after a comma": "There were many of them in the garden, Anna,\nBob and also Carla. |Fine.",
    "blank lines": "One\n\n|two\n\n\n|three",
    "windows lines": "One.\r\n|Two is a line\r\nthat goes on.\r\n\r\n|Three.",
    "old mac lines": "One.\r|Two.\r\r|Three.",
    "page break": "end of page\f|next page",
    "chinese": "你好。|今天天气很好！|你呢？|“我也好。”|他说。",
    "japanese": "はい。|「そうですか。」|そうです。",
    "fullwidth decimal": "价格是3．5元。|好．|再见。",
    "hindi": "यह एक वाक्य है। |यह दूसरा है। |क्या?",
    "arabic": "كيف حالك؟ |أنا بخير. |شكرا.",
    "urdu": "یہ ہے۔ |وہ ہے۔",
    "armenian": "Բարեւ։ |Ինչպես ես։",
    "burmese": "မင်္ဂလာပါ။ |ကောင်းပါသည်။",
    "hebrew": "שלום. |מה שלומך? |טוב.",
    "russian": "Он ушёл. |Она осталась. |См. рис. 5.",
    "emphasis": "This is *important.* |**Really.** |_Yes._ |Good.",
    "one": "no end at all",
    "lone marks": ". |. |A",
}


@pytest.mark.parametrize("marked", TABLE.values(), ids=TABLE.keys())
def test_it_ends_sentences_where_they_end(marked: str) -> None:
    text = marked.replace("|", "")
    assert "|".join(text[a:b] for a, b in sentence_spans(text)) == marked


def test_it_ends_sentences_of_a_text_without_capitals() -> None:
    text = "hi there. how are you? i am fine\nand you\n" * 3
    assert is_without_capitals(text)
    parts = [text[a:b] for a, b in sentence_spans(text)]
    assert parts[:4] == ["hi there. ", "how are you? ", "i am fine\n", "and you\n"]
    assert not is_without_capitals("你好。再见。")
    assert not is_without_capitals("")


@given(st.text(alphabet=st.sampled_from("aB .!?…。\n\r\"'1”)Mr\u2028"), max_size=80))
def test_it_covers_the_text(text: str) -> None:
    assert "".join(text[a:b] for a, b in sentence_spans(text)) == text


@given(st.text(alphabet=st.sampled_from('aB .!?\n"1M'), max_size=120), st.integers(0, 120))
def test_it_gives_for_a_part_the_ends_of_the_whole(text: str, stop: int) -> None:
    whole = [end for end in sentence_ends(text, without_capitals=False) if end <= stop]
    assert list(sentence_ends(text, stop=stop, without_capitals=False)) == whole


@pytest.mark.parametrize("text", ["." * 10**6, "\n" * 10**6, "." + '"' * 10**6, "a." * 500_000, "?!" * 500_000])
def test_it_reads_runs_of_marks_once(text: str) -> None:
    begin = time.perf_counter()
    sentence_spans(text)
    assert time.perf_counter() - begin < 20
