"""What is one tag: texts that look alike, however Unicode spells them."""

import unicodedata

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.spark.frames import frame_of
from newslake.users.events import MAX_TAG, as_tag
from newslake.users.keywords import SHARES, article_tags

SPELLINGS = [
    "Caf\u00e9",
    "cafe\u0301",
    "New\u00a0York",
    " new \u2009\u3000York\r\n",
    "new york",
    "\uff21\uff22\uff23",
    "\ufb01lm",
    "\uac00\ub098",
    "\u1100\u1161\u1102\u1161",
    "\u0130stanbul",
    "\u212bngstrom",
    "天气 预报",
    "plain",
]


def test_spellings_of_one_text_are_one_tag(spark: SparkSession) -> None:
    texts = [
        *SPELLINGS,
        "\u00a0",
        "",
        None,
        "\u00e9" * MAX_TAG,
        "e\u0301" * MAX_TAG,
        "\u00e9" * (MAX_TAG + 1),
    ]
    rows = (
        frame_of(spark, list(enumerate(texts)), "n int, text string")
        .select("n", as_tag(F.col("text")).alias("tag"))
        .collect()
    )
    found = {row["n"]: row["tag"] for row in rows}
    wanted = [" ".join(unicodedata.normalize("NFKC", text).lower().split()) for text in SPELLINGS]
    assert [found[n] for n in range(len(SPELLINGS))] == wanted
    assert len(set(wanted)) == len(SPELLINGS) - 4
    assert [found[n] for n in range(len(SPELLINGS), len(texts))] == [
        None,
        None,
        None,
        "\u00e9" * MAX_TAG,
        "\u00e9" * MAX_TAG,
        None,
    ]


def test_an_entity_and_a_category_of_one_name_are_one_tag(spark: SparkSession) -> None:
    kind = "news_id string, entities array<struct<label: string>>, category string, subcategory string"
    news = frame_of(
        spark,
        [
            ("N1", [("Sa\u0303o\u00a0Paulo",), (None,)], "s\u00e3o paulo", "sport"),
            ("N2", None, None, "sport"),
        ],
        kind,
    )
    found = {(row["news_id"], row["tag"]): row["share"] for row in article_tags(news, None, 0).collect()}
    assert found == {
        ("N1", "s\u00e3o paulo"): SHARES["entity"],
        ("N1", "sport"): SHARES["subcategory"],
        ("N2", "sport"): SHARES["subcategory"],
    }
