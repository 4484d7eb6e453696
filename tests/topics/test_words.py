"""Texts to terms: English, Chinese, both at once, and what is no text at all."""

import pytest
from pyspark.sql import SparkSession

from newslake.spark.frames import frame_of
from newslake.topics.words import MAX_CHARS, article_text, terms, with_terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Mayor's plan, again: the mayor", ["the", "mayor", "plan", "again", "the", "mayor"]),
        ("don\u2019t rock-n-roll at 10 o'clock", ["don\u2019t", "rock", "roll", "at", "o'clock"]),
        (
            "\uff21\uff22\uff23 caf\u00e9 \u041c\u043e\u0441\u043a\u0432\u0430",
            ["abc", "caf\u00e9", "\u043c\u043e\u0441\u043a\u0432\u0430"],
        ),
        ("", []),
        ("\x00\x01 \t 123 !!! \U0001f600", []),
        ("wins " + "y" * 10_000, ["wins"]),
        ("a b c", []),
    ],
)
def test_spaced_scripts(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_chinese_is_cut_into_words() -> None:
    pytest.importorskip("jieba")
    # "The central bank announced a cut of interest rates; the stock market rose on Friday."
    found = terms("中央银行宣布下调利率、股市周五上涨。")
    assert {"中央银行", "宣布", "利率", "股市", "上涨"} <= set(found)
    assert "".join(found) != "中央银行宣布下调利率股市周五上涨" or len(found) > 4
    # What says nothing is left out, scripts are parted.
    assert terms("我们的 news 市场market") == ["news", "市场", "market"]


def test_a_megabyte_is_read_to_a_bound() -> None:
    assert len(terms("word " * 200_000)) == MAX_CHARS // 5


def test_terms_in_spark_keep_the_other_columns_and_survive_broken_bytes(spark: SparkSession) -> None:
    rows = frame_of(
        spark,
        [("a", "Team wins", None, "Goal"), ("b", None, "", None)],
        "id string, title string, abstract string, body string",
    )
    broken = rows.limit(1).selectExpr(
        "'c' AS id", "cast(x'7261696eff' as string) AS title", "'' AS abstract", "'' AS body"
    )
    given = rows.union(broken).coalesce(1).select("id", article_text().alias("text"))
    found = {row["id"]: row["terms"] for row in with_terms(given, "text").collect()}
    assert found == {"a": ["team", "wins", "goal"], "b": [], "c": ["rain"]}
    kept = with_terms(given, "text", keep=frozenset(["goal"])).where("id = 'a'").head()
    assert kept is not None
    assert kept["terms"] == ["goal"]
