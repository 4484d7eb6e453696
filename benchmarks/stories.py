"""The evidence for find_stories: near-copies that the generator made, and which of them are found, by
thresholds chosen on another seed.

Of generated news a fifth are near-copies: a word here and there, another subcategory and source, up to two
days later. Title and abstract are encoded; articles are then grouped by the rule of find_stories
(ranking/leaders.py; tests/ranking/test_stories.py shows that the job comes to the same). Two articles of one
story are a pair: precision is the share of found pairs that the truth has, recall the share of the truth's
pairs that were found. Some articles are alike by chance alone (two titles of the same frame, entity and
thing, and no abstract); the truth has them as different stories, so that precision cannot quite reach 1.

The thresholds come from a table over one seed (--choose prints it); what is reported are two other seeds, by
the defaults of the job.
"""

import argparse
import json
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd

from common import Measures
from newslake.ranking.leaders import joined
from newslake.ranking.stories import find_stories
from newslake.sample import GeneratorSpec
from newslake.sample.articles import article_truth, copy_truth, news_lines
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve

CHOSEN_ON, REPORTED = 11, (12, 13)
COSINES, ALONE = np.arange(0.70, 0.991, 0.02), (0.92, 0.94, 0.96, 0.98, 0.99, 1.01)
DEFAULTS = {
    name: signature(find_stories).parameters[name].default
    for name in ("days", "min_cosine", "min_cosine_alone")
}


def arguments() -> argparse.Namespace:
    """As every benchmark, --choose, --encoder and --threads."""
    parser = argparse.ArgumentParser(
        description="Near-copies that find_stories finds: precision and recall of pairs."
    )
    parser.add_argument("--small", action="store_true", help="fewer articles, one seed")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--choose", action="store_true", help=f"print the table of thresholds on seed {CHOSEN_ON} instead"
    )
    parser.add_argument(
        "--encoder", default=None, metavar="MODEL", help="a model id or folder (default: the built-in one)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the encoder")
    return parser.parse_args()


@dataclass(frozen=True)
class World:
    """Pairs of articles that are near each other in time and space, and the truth. Articles by number, in the
    order of publication."""

    later: np.ndarray
    earlier: np.ndarray
    cosine: np.ndarray
    shares: np.ndarray  # an entity
    true: np.ndarray

    def found(self, min_cosine: float, alone: float) -> np.ndarray:
        """The first article of each one's story."""
        kept = (self.cosine >= min_cosine) & (self.shares | (self.cosine >= alone))
        none = np.zeros(len(self.true), bool)
        return joined(self.later[kept], self.earlier[kept], self.cosine[kept], none, none)


def world(seed: int, count: int, encoder: Encoder) -> World:
    """Generated news, encoded."""
    spec = GeneratorSpec(
        articles=count, users=10, impressions=10, copies=0.2, body_share=0.0, short_texts=0, seed=seed
    )
    lines = {
        line.split("\t")[0]: line.split("\t")
        for split in ("train", "dev")
        for line in news_lines(spec, split, 0, count)[0].to_pylist()
    }
    truth = article_truth(spec, 0, count).to_pandas().sort_values(["published_at", "news_id"])
    copies = copy_truth(spec, 0, count).to_pandas().set_index("news_id")["original_id"]
    rows = [lines[name] for name in truth["news_id"]]
    vectors = encoder.encode([row[3] for row in rows], [row[4] for row in rows]).vectors.astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hours = (
        truth["published_at"].dt.tz_convert(None).to_numpy().astype("datetime64[s]").astype(np.int64) / 3_600
    )
    near = (unit @ unit.T >= COSINES[0]) & (hours[:, None] - hours[None, :] <= 24 * DEFAULTS["days"])
    later, earlier = np.nonzero(np.tril(near, -1))
    named = [{entity["WikidataId"] for text in row[6:8] for entity in json.loads(text)} for row in rows]
    return World(
        later,
        earlier,
        np.einsum("ij,ij->i", unit[later], unit[earlier]).astype(np.float32),
        np.array([bool(named[a] & named[b]) for a, b in zip(later, earlier, strict=True)], bool),
        truth["news_id"].map(copies).fillna(truth["news_id"]).to_numpy(),
    )


def quality(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Precision and recall of the pairs that two groupings make."""

    def pairs(*labels: np.ndarray) -> float:
        sizes = pd.DataFrame(dict(enumerate(labels))).value_counts().to_numpy()
        return float((sizes * (sizes - 1) // 2).sum())

    right = pairs(found, true)
    return right / max(pairs(found), 1.0), right / max(pairs(true), 1.0)


def choose(made: World) -> None:
    """Print precision and recall of each pair of thresholds."""
    print(
        "precision / recall of pairs, by --min-cosine (down) and --min-cosine-alone (across; 1.01: never"
        " alone)"
    )
    print(" " * 6 + "".join(f"{alone:^16.2f}" for alone in ALONE))
    for bound in COSINES:
        cells = [quality(made.found(bound, max(alone, bound)), made.true) for alone in ALONE]
        print(
            f"{bound:.2f}  "
            + "".join(f"{f'{precision:.3f} / {recall:.3f}':^16}" for precision, recall in cells)
        )


def main() -> None:
    """Run it all."""
    given = arguments()
    count, seeds = (800, REPORTED[:1]) if given.small else (2_000, REPORTED)
    spec = EncoderSpec(fields=("title", "abstract"))
    spec = spec if given.encoder is None else replace(spec, encoder=given.encoder)
    encoder = Encoder(resolve(spec), threads=given.threads)
    if given.choose:
        return choose(world(CHOSEN_ON, count, encoder))
    measures = Measures("Stories", given.json)
    for seed in seeds:
        made = world(seed, count, encoder)
        precision, recall = quality(
            made.found(DEFAULTS["min_cosine"], DEFAULTS["min_cosine_alone"]), made.true
        )
        measures.add(
            f"precision of pairs, seed {seed}",
            precision,
            1.0,
            unit="share",
            better="higher",
            peer_name="the truth",
        )
        measures.add(
            f"recall of pairs, seed {seed}", recall, 1.0, unit="share", better="higher", peer_name="the truth"
        )
    return measures.finish()


if __name__ == "__main__":
    main()
