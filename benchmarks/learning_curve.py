"""What training adds to zero-shot with little and with much data: AUC on test of every model that reads text,
by train impressions.

A world is generated for each seed and encoded once (titles), and its train is cut to each size. Valid, of 15
% of the train impressions and at most 10,000, chooses the epoch; test, other impressions of the day after
train, is judged once and chooses nothing. Half of that day's users are new. Lines become training data in
memory (see readers.py), so that no Spark runs.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from common import add_trainings
from newslake.sample import GeneratorSpec
from newslake.sample.generate import plan
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, resolve
from newslake.training.loop.evaluate import Vectors, evaluate
from newslake.training.loop.trainer import train
from newslake.training.models.baseline import zero_shot
from newslake.training.models.settings import settings_for
from readers import Article, Shown, articles_of, lines_of, shown_of, training_data

SIZES, TEST, MOST_VALID = (1_000, 10_000, 200_000), 10_000, 10_000
BARS = {1_000: 0.0, 10_000: 0.02, 200_000: 0.08}
MODELS = ("content", "dssm", "nrms")


def valid_of(train_size: int) -> int:
    """How many impressions choose the epoch: few where there are few to train on."""
    return min(train_size * 15 // 100, MOST_VALID)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--impressions",
        type=int,
        nargs="+",
        default=list(SIZES),
        metavar="N",
        help="train impressions (default: %(default)s)",
    )
    parser.add_argument(
        "--world",
        type=int,
        metavar="N",
        help="train impressions that the world is made with (default: the most asked for)",
    )
    add_trainings(parser, MODELS, "of worlds and trainings")
    parser.add_argument(
        "--mind",
        type=Path,
        nargs=2,
        metavar="FILE",
        help="news.tsv and behaviors.tsv to take instead of a generated world",
    )
    parser.add_argument("--small", action="store_true", help="1,000 impressions and one seed")
    parser.add_argument("--epochs", type=int, help="at most (default: each model's own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    given = parser.parse_args()
    if given.small:
        given.impressions, given.seeds, given.world = [1_000], given.seeds[:1], 1_000
    return given


def generated(train_size: int, seed: int) -> tuple[list[Article], list[Shown], list[Shown]]:
    """A world's articles, and the impressions of train and of the day after it."""
    later = valid_of(train_size) + TEST
    spec = GeneratorSpec(
        articles=max(1_200, train_size // 10),
        users=(train_size + later) // 7,
        impressions=train_size + later,
        dev_share=later / (train_size + later),
        new_users=0.5,
        body_share=0.0,
        short_texts=0,
        seed=seed,
    )
    files = {file.name: file for file in plan(spec)}

    articles = articles_of(line for split in ("train", "dev") for line in lines_of(files[f"{split}/news"]))
    train, dev = (shown_of(lines_of(files[f"{split}/behaviors"]), articles) for split in ("train", "dev"))
    random = np.random.default_rng(seed)
    return articles, _mixed(train, random), _mixed(dev, random)


def of_files(news: Path, behaviors: Path, seed: int) -> tuple[list[Article], list[Shown], list[Shown]]:
    """The articles of MIND's files and its impressions: all but the last 40 %, by their place in a random
    order, and those."""
    articles = articles_of(news.read_text(encoding="utf-8").splitlines())
    shown = _mixed(
        shown_of(behaviors.read_text(encoding="utf-8").splitlines(), articles), np.random.default_rng(seed)
    )
    cut = len(shown) * 6 // 10
    return articles, shown[:cut], shown[cut:]


def _mixed(shown: Sequence[Shown], random: np.random.Generator) -> list[Shown]:
    return [shown[place] for place in random.permutation(len(shown))]


def encoded(articles: Sequence[Article]) -> np.ndarray:
    """(articles, size) vectors of their titles, by the built-in encoder."""
    encoder = Encoder(resolve(EncoderSpec(fields=("title",), long_text="truncate")))
    return encoder.encode([article.title for article in articles]).vectors


def main() -> None:
    """Make worlds, train, judge on test, and print the table."""
    given = arguments()
    rows: list[dict[str, object]] = []
    for seed in given.seeds:
        if given.mind:
            news, behaviors = given.mind
            articles, shown, later = of_files(news, behaviors, seed)
        else:
            articles, shown, later = generated(given.world or max(given.impressions), seed)
        vectors = encoded(articles)
        for size in dict.fromkeys(min(size, len(shown)) for size in given.impressions):
            valid = min(valid_of(size), len(later) // 3)
            with tempfile.TemporaryDirectory() as folder:
                # The last of the later impressions: the same test for every size.
                cut = (
                    shown[:size],
                    later[:valid],
                    later[-TEST:] if not given.mind else later[len(later) // 3 :],
                )
                data, test = training_data(articles, vectors, cut, Path(folder) / "clicks")
                users, candidates = map(torch.from_numpy, zero_shot(data.catalogue))
                base = evaluate(Vectors(users, candidates, of_histories=True), test)[0].auc
                assert base is not None
                for model in given.models:
                    settings = settings_for(model, seed=seed, skips=4, epochs=given.epochs)
                    trained = train(data, settings, device="auto", progress=lambda text: None)
                    auc = evaluate(trained.vectors, test, settings.loss)[0].auc
                    assert auc is not None
                    row = {
                        "train": size,
                        "seed": seed,
                        "model": model,
                        "zero-shot": base,
                        "auc": auc,
                        "best epoch": trained.best_epoch,
                    }
                    rows.append(row)
                    told = f"zero-shot {base:.4f} AUC {auc:.4f} {auc - base:+.4f} epoch {trained.best_epoch}"
                    print(f"{size:>9,} seed {seed} {model:<8} {told}", flush=True)
    _table(rows)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _table(rows: Sequence[dict[str, object]]) -> None:
    print(
        f"\n{'train':>9}  {'model':<8}  {'zero-shot':>9}  {'AUC':>6}  {'gain':>7}  {'least gain':>10} "
        f" {'bar':>6}  seeds"
    )
    for size, model in dict.fromkeys((row["train"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["train"], row["model"]) == (size, model)]
        base, auc = (np.array([row[name] for row in mine], dtype=float) for name in ("zero-shot", "auc"))
        bar = f"{BARS[size]:+.2f}" if isinstance(size, int) and size in BARS else ""
        gain, least = f"{(auc - base).mean():+.4f}", f"{(auc - base).min():+.4f}"
        print(
            f"{size:>9,}  {model:<8}  {base.mean():>9.4f}  {auc.mean():.4f}  {gain:>7}  {least:>10}  {bar:>6}"
            f"  {len(mine)}"
        )


if __name__ == "__main__":
    main()
