"""The vote's rules on real titles, such as MIND's news.tsv: some labels are changed at random, and the
titles' neighbours vote on them.

    python benchmarks/vote_titles.py path/to/news.tsv

Of each article the title is the short text, title and abstract the long one; an article is no neighbour of
its own title. Nobody scores: all vote with the class that the file gives. What is printed for each rule and
each --whiten is the mean over 20 draws of wrong labels.
"""

import argparse
from pathlib import Path

import numpy as np

from newslake.search.unit_rows import unit_rows
from newslake.search.whiten import whitening
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from vote import outcome

NEIGHBOURS, DRAWS, WRONG = 20, 20, 0.15
POWERS = (0.0, 0.3, 0.5, 0.7)
RULES = ((18, NEIGHBOURS), (18, 0), (16, NEIGHBOURS), (16, 0))  # votes, own votes


def neighbours(short: np.ndarray, long: np.ndarray, power: float) -> np.ndarray:
    """(n, NEIGHBOURS) rows of the nearest articles of each title, its own left out."""
    unit = unit_rows(long)
    projection = whitening(np.cov(unit.T, bias=True), len(unit), power)
    cosines = (
        unit_rows((short @ projection).astype(np.float32))
        @ unit_rows((long @ projection).astype(np.float32)).T
    )
    np.fill_diagonal(cosines, -2.0)
    found: np.ndarray = np.argsort(-cosines, axis=1)[:, :NEIGHBOURS]
    return found


def means(near: np.ndarray, true: np.ndarray, classes: int, votes: int, own_votes: int) -> dict[str, float]:
    """What `vote.quality` says of one rule, as means over the draws.

    Args:
        near: (n, NEIGHBOURS) classes of the neighbours.
        true: (n,) classes.
    """
    found = []
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        others = (true + random.integers(1, classes, len(true))) % classes
        old = np.where(random.random(len(true)) < WRONG, others, true)
        ballots = {"old": old, "true": true, "near": near, "classes": np.array(classes)}
        found.append(outcome(ballots, votes, NEIGHBOURS, own_votes))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def main() -> None:
    """Encode, and print the table."""
    parser = argparse.ArgumentParser(
        description="The vote's rules on the titles of a news.tsv in MIND's format."
    )
    parser.add_argument("news", type=Path, help="news.tsv: id, category, subcategory, title, abstract, ...")
    lines = [
        line.split("\t") for line in parser.parse_args().news.read_text(encoding="utf-8").split("\n") if line
    ]
    names = sorted({fields[1] for fields in lines})
    true = np.array([names.index(fields[1]) for fields in lines])
    encoder = Encoder(resolve(EncoderSpec()), threads=2)
    titles, abstracts = ([fields[place] for fields in lines] for place in (3, 4))
    short, long = (
        encoder.encode(titles, [""] * len(titles)).vectors,
        encoder.encode(titles, abstracts).vectors,
    )
    print(f"{len(lines):,} titles of {len(names)} classes, {WRONG:.0%} of the labels wrong")
    print("whiten  votes  own votes  precision  corrected  changes")
    for power in POWERS:
        near = true[neighbours(short, long, power)]
        for votes, own_votes in RULES:
            got = means(near, true, len(names), votes, own_votes)
            own = "any" if own_votes == NEIGHBOURS else own_votes
            print(
                f"{power:>6}  {votes:>2}/{NEIGHBOURS}  {own:>9}  {got['precision']:>9.3f} "
                f" {got['recall']:>9.3f}  {got['changes']:>7.0f}"
            )


if __name__ == "__main__":
    main()
