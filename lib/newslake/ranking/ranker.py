"""The learnt ranker: gradient-boosted trees, or a linear score, over the features of candidates; fitted, kept
in a folder, applied."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from newslake.errors import UserError
from newslake.files.folders import kept
from newslake.files.remote import Place
from newslake.ranking.features import FEATURES, Floats
from newslake.run.options import option_group

Matrix = npt.NDArray[np.float32]
Kind = Literal["trees", "linear"]
FORMAT = 1
ABOUT, _BOOSTER = "ranker.json", "booster.json"
# Their effect is by ratio: a linear score takes their logarithm.
_LOGS = (
    "ctr",
    "prior",
    "clicks",
    "impressions",
    "recent_clicks",
    "recent_impressions",
    "age_hours",
    "exposures",
    "history_length",
)
_LEAST = 1e-4


@option_group
class RankerSettings:
    """How a ranker is fitted (Burges, "From RankNet to LambdaRank to LambdaMART: an overview", 2010).

    Attributes:
        kind: trees (gradient boosting, LambdaMART) or linear (RankNet's pairwise loss).
        rounds: Rounds of boosting at most.
        patience: Rounds without a better nDCG@10 on the valid hours, after which training stops.
        depth: Depth of the trees.
        learning_rate: Weight of a round.
        least_weight: Sum of second derivatives that a leaf of the trees needs.
        seed: Seed of what is drawn.

    Raises:
        UserError: a value makes no sense.
    """

    kind: Kind = "trees"
    rounds: int = 400
    patience: int = 40
    depth: int = 4
    learning_rate: float = 0.08
    least_weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rounds, self.patience, self.depth) < 1:
            raise UserError("--rounds, --patience and --depth must be at least 1")
        if self.learning_rate <= 0 or self.least_weight < 0:
            raise UserError("--learning-rate must be above 0, --least-weight 0 or more")


@dataclass(frozen=True)
class Judged:
    """Candidates by query: (n, features), (n,) labels, (n,) query numbers, ascending."""

    features: Matrix
    labels: npt.NDArray[np.int8]
    queries: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranker:
    """A fitted ranker.

    Attributes:
        run_id: of its training.
        encoder_id: whose vectors its features are of.
        booster: xgboost's JSON.
        center, scale: of the linear one's inputs; empty for trees.
        recommender: the training run whose score it has learnt with; None: it knows of none.
        about: what else is worth keeping.
    """

    run_id: str
    encoder_id: str
    settings: RankerSettings
    booster: bytes
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    recommender: str | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def scorer(self) -> Callable[[], Callable[[Matrix], Floats]]:
        """What a worker makes its scores with: see scoring.with_scores."""
        return self._loaded

    def _loaded(self) -> Callable[[Matrix], Floats]:
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(self.booster))

        def score(features: Matrix) -> Floats:
            inputs = _linear_inputs(features, self.center, self.scale) if self.center else features
            found: Floats = booster.predict(
                xgboost.DMatrix(inputs, feature_names=list(FEATURES), nthread=1), output_margin=True
            )
            return found

        return score


def fit(
    train: Judged,
    valid: Judged,
    settings: RankerSettings,
    *,
    run_id: str,
    encoder_id: str,
    recommender: str | None = None,
) -> Ranker:
    """Fit a ranker, as many rounds as are best on the valid candidates by nDCG@10."""
    import xgboost

    center, scale = _moments(train.features) if settings.kind == "linear" else ((), ())
    parts = []
    for part in (train, valid):
        inputs = _linear_inputs(part.features, center, scale) if center else part.features
        parts.append(
            xgboost.DMatrix(inputs, label=part.labels, qid=part.queries, feature_names=list(FEATURES))
        )
    common = {"eval_metric": "ndcg@10", "seed": settings.seed, "eta": settings.learning_rate}
    trees = {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": 10,
        "tree_method": "hist",
        "max_depth": settings.depth,
        "min_child_weight": settings.least_weight,
    }
    linear = {
        "objective": "rank:pairwise",
        "booster": "gblinear",
        "updater": "coord_descent",
        "lambda": 0.001,
    }
    log: dict[str, Any] = {}
    booster = xgboost.train(
        {**common, **(linear if center else trees)},
        parts[0],
        settings.rounds,
        evals=[(parts[1], "valid")],
        early_stopping_rounds=settings.patience,
        evals_result=log,
        verbose_eval=False,
    )
    best = booster.best_iteration
    # A linear score has no rounds to go back to: it has stopped near its best.
    kept = booster if center else booster[: best + 1]
    # Of a tree's features each has one gain, which xgboost types as one or several.
    found: dict[str, Any] = {} if center else dict(kept.get_score(importance_type="total_gain"))
    gains = {name: float(gain) for name, gain in found.items()}
    about = {"rounds": best + 1, "valid_ndcg_at_10": float(log["valid"]["ndcg@10"][best]), "gains": gains}
    return Ranker(
        run_id, encoder_id, settings, bytes(kept.save_raw("json")), center, scale, recommender, about
    )


def save(models: Place, ranker: Ranker) -> None:
    """Keep a ranker, in place of one of the same run: <models>/<run_id>/ranker.json and booster.json. All of
    it is there, or nothing.

    Raises:
        UserError: the folder cannot be written.
    """
    with kept(models / ranker.run_id, ABOUT) as temporary:
        (temporary / _BOOSTER).write_bytes(ranker.booster)
        about = {"format": FORMAT, "features": list(FEATURES), **asdict(ranker)}
        del about["booster"]
        (temporary / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def saved_rankers(models: Place) -> list[str]:
    """The runs of the rankers in a folder."""
    return sorted(file.parent.name for file in models.glob(f"*/{ABOUT}") if ".tmp-" not in file.parent.name)


def load(models: Place, run_id: str) -> Ranker:
    """A ranker from its folder.

    Raises:
        UserError: there is none, or one of another version.
    """
    if run_id not in (there := saved_rankers(models)):
        has = f"it has {', '.join(there)}" if there else "it has none: run jobs/train_ranker.py first"
        raise UserError(f"no ranker {run_id} in {models}; {has}")
    about = json.loads((models / run_id / ABOUT).read_text(encoding="utf-8"))
    if about["format"] != FORMAT or about["features"] != list(FEATURES):
        raise UserError(
            f"ranker {run_id} in {models} reads other features than this version computes: run"
            " jobs/train_ranker.py again"
        )
    booster = (models / run_id / _BOOSTER).read_bytes()
    settings = RankerSettings(**about["settings"])
    moments = tuple(about["center"]), tuple(about["scale"])
    return Ranker(
        about["run_id"],
        about["encoder_id"],
        settings,
        booster,
        *moments,
        about["recommender"],
        about["about"],
    )


def _linear_inputs(features: Matrix, center: tuple[float, ...], scale: tuple[float, ...]) -> Matrix:
    """Inputs of a linear score: logarithms where ratios count, mean 0, deviation 1; what is unknown is the
    mean."""
    scaled = (_logs(features) - np.array(center)) / np.array(scale)
    inputs: Matrix = np.nan_to_num(scaled, nan=0.0).astype(np.float32)
    return inputs


def _logs(features: Matrix) -> npt.NDArray[np.float64]:
    found = features.astype(np.float64)
    for place, name in enumerate(FEATURES):
        if name in _LOGS:
            found[:, place] = np.log(
                np.maximum(found[:, place], 0.0) + (_LEAST if name in ("ctr", "prior") else 1.0)
            )
    return found


def _moments(features: Matrix) -> tuple[tuple[float, ...], tuple[float, ...]]:
    inputs = _logs(features)
    known = ~np.isnan(inputs)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, inputs, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (inputs - mean) ** 2, 0.0).sum(axis=0) / count)
    return tuple(map(float, mean)), tuple(map(float, np.where(deviation > 0.0, deviation, 1.0)))
