"""Long articles, three ways: the share whose nearest article has the same topic, for summarize, truncate and
mean-of-chunks.

The articles are generated: 800 to 3,000 words, of which more than the first 500 are an opening without the
subject, and 60 % of the titles do not name it either. Nearest is by cosine, among the articles themselves;
the topic is one of 85. All three ways use all-MiniLM-L6-v2 at 512 tokens. Time is that of tokenising,
choosing and encoding, without Spark.
"""

import os
import time

import numpy as np

from common import Measures, bench_arguments
from newslake.sample import GeneratorSpec
from newslake.sample.articles import article_truth, messages
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, LongText, resolve

WAYS: tuple[LongText, ...] = ("summarize", "truncate", "mean-of-chunks")
BLOCK = 2_000


def late_articles(articles: int) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Title, abstract with body, subcategory and category of generated articles whose subject comes late."""
    spec = GeneratorSpec(articles=articles)
    first: list[str] = []
    second: list[str] = []
    topics: list[tuple[str, str]] = []
    for start in range(0, articles, BLOCK):
        stop = min(start + BLOCK, articles)
        truth = (
            article_truth(spec, start, stop)
            .to_pandas()
            .set_index("news_id")[["body", "category", "subcategory"]]
        )
        late = messages(spec, start, stop).to_pandas().set_index("news_id").join(truth.add_prefix("true_"))
        late = late[late["true_body"] == "late"]
        first += late["title"].tolist()
        second += (late["abstract"] + " " + late["body"]).tolist()
        topics += list(zip(late["true_subcategory"], late["true_category"], strict=True))
    return (
        first,
        second,
        np.array([topic for topic, _ in topics]),
        np.array([category for _, category in topics]),
    )


def nearest(vectors: np.ndarray) -> np.ndarray:
    """The nearest other row by cosine."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2.0)
    found: np.ndarray = cosines.argmax(axis=1)
    return found


def main() -> None:
    """Run all three."""
    arguments = bench_arguments("Long articles summarised, cut, and read in chunks.")
    first, second, topics, categories = late_articles(700 if arguments.small else 6_000)
    words = [len(text.split()) for text in second]
    print(f"{len(first):,} articles of {min(words):,} to {max(words):,} words")
    same: dict[str, tuple[float, float]] = {}
    taken: dict[str, float] = {}
    for how in WAYS:
        encoder = Encoder(resolve(EncoderSpec(long_text=how)), threads=len(os.sched_getaffinity(0)))
        encoder.encode(first[:4], second[:4])
        began = time.perf_counter()
        made = encoder.encode(first, second)
        taken[how] = time.perf_counter() - began
        place = nearest(made.vectors)
        same[how] = float(np.mean(topics[place] == topics)), float(np.mean(categories[place] == categories))
        print(
            f"  {how}: topic {same[how][0]:.3f}, category {same[how][1]:.3f}, {taken[how]:.1f} s,"
            f" {made.token_counts.sum():,} tokens",
            flush=True,
        )
    measures = Measures("Nearest article has the same topic", arguments.json)
    for peer in WAYS[1:]:
        for which, what in enumerate(("topic", "category")):
            name = f"same {what}, summarize against {peer}"
            measures.add(
                name,
                same["summarize"][which],
                max(same[peer][which], 1e-9),
                unit="share",
                better="higher",
                peer_name=peer,
            )
        name = f"seconds, summarize against {peer}"
        measures.add(name, taken["summarize"], taken[peer], unit="s", better="lower", peer_name=peer)
    measures.finish()


if __name__ == "__main__":
    main()
