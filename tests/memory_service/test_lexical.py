from __future__ import annotations

import math

import numpy as np
import pytest

from memory_service.lexical import BM25_B, BM25_K1, bm25, count_terms, idf, terms


def test_it_stems_and_drops_stop_words() -> None:
    assert terms("The dogs were running to Maya's house") == ["dog", "run", "maya", "hous"]


def test_it_gives_the_parts_of_identifiers_too() -> None:
    assert terms("parseHTTPResponse") == ["parsehttprespons", "pars", "http", "respons"]
    assert terms("retry_count") == ["retri", "count"]


def test_it_reads_other_scripts_and_folds_their_forms() -> None:
    assert terms("كتاب") == terms("کتاب")
    assert terms("ＡＢＣ") == terms("abc")
    assert count_terms("東京 東京")["東京"] == 2


def test_it_makes_pairs_of_scripts_without_spaces() -> None:
    assert terms("我买了一辆红色的拖拉机") == [
        *("我买", "买了", "了一", "一辆", "辆红", "红色", "色的", "的拖", "拖拉", "拉机")
    ]
    assert terms("茶") == ["茶"]
    assert terms("茶。水・") == ["茶", "水"]
    assert terms("My iPhone手机 works") == ["iphon", "phone", "手机", "work"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("红色", "我买了一辆红色的拖拉机"),
        ("東京", "私は東京に住んでいます"),
        ("コーヒー", "毎朝ｺｰﾋｰを飲む"),
        ("กาแฟ", "ฉันดื่มกาแฟทุกเช้า"),
        ("ກາເຟ", "ຂ້ອຍດື່ມກາເຟທຸກເຊົ້າ"),
        ("កាហ្វេ", "ខ្ញុំផឹកកាហ្វេរាល់ព្រឹក"),
        ("ကော်ဖီ", "ငါကော်ဖီသောက်တယ်"),
    ],
    ids=["Han", "kana and Han", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"],
)
def test_it_finds_a_word_inside_a_run_without_spaces(word: str, text: str) -> None:
    assert terms(word) and set(terms(word)) <= set(terms(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiếng Việt", ["tiếng", "việt"]),
        ("서울에 살아요", ["서울에", "살아요"]),
        ("любит чай", ["любит", "чай"]),
        ("Zoë’s café", ["zoë", "café"]),
    ],
    ids=["Vietnamese", "Korean", "Russian", "accents"],
)
def test_it_leaves_words_of_spaced_scripts_whole(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_it_cuts_endless_words() -> None:
    assert all(len(term) <= 64 for term in terms("x" * 10_000))


def test_it_scores_as_the_formula_says() -> None:
    lengths = np.array([4.0, 8.0, 6.0])
    rows, tf = np.array([0, 1]), np.array([1.0, 3.0])
    expected = [
        idf(2, 3) * f * (BM25_K1 + 1) / (f + BM25_K1 * (1 - BM25_B + BM25_B * length / 6))
        for f, length in ((1, 4), (3, 8))
    ]
    assert bm25([(rows, tf)], lengths) == pytest.approx([*expected, 0.0])
    assert idf(2, 3) == pytest.approx(math.log(1 + 1.5 / 2.5))


def test_it_prefers_rare_terms_and_short_texts() -> None:
    lengths = np.array([10.0, 10.0, 30.0, 10.0])
    common, rare = (np.array([0, 2, 3]), np.ones(3)), (np.array([1, 2]), np.ones(2))
    scores = bm25([common, rare], lengths)
    assert scores[1] > scores[0]
    assert bm25([rare], lengths)[1] > bm25([rare], lengths)[2]


def test_it_finds_nothing_in_nothing() -> None:
    assert bm25([], np.empty(0)).shape == (0,)
    assert terms("the of and!") == []
