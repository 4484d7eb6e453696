"""The training loop: what it learns, when it stops, which epoch it keeps, and that a seed decides it all."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import sem
from sklearn.metrics import ndcg_score, roc_auc_score
from torch import Tensor

from newslake.errors import JobFailed, UserError
from newslake.training import models
from newslake.training.data.batches import Examples
from newslake.training.data.loading import Catalogue, Codes, Impressions, TrainingData
from newslake.training.loop.checkpoint import Progress
from newslake.training.loop.epoch import Rate, train_epoch
from newslake.training.loop.evaluate import Vectors, all_vectors, evaluate, scores
from newslake.training.loop.processes import Alone
from newslake.training.loop.trainer import Trained, torch_device, train
from newslake.training.models import Defaults, Recommender, Shape
from newslake.training.models.baseline import zero_shot
from newslake.training.models.settings import TrainSettings
from tests.training.frames import write_clicks

USERS, ARTICLES, NEW_ARTICLES, KINDS, SIZE = 30, 90, 30, 3, 6
SETTINGS = TrainSettings(
    model="content",
    epochs=6,
    patience=6,
    seed=0,
    dim=8,
    batch_size=32,
    learning_rate=0.01,
    weight_decay=1e-5,
    skips=4,
)


def drawn_impressions(random: np.random.Generator, articles: Any, count: int) -> Impressions:
    """Each shows 8 articles; a user clicks those of the kind that the user's number leaves on division by
    3."""
    users = random.integers(0, USERS, count).astype(np.int32)
    shown = np.stack([random.choice(articles, 8, replace=False) for _ in range(count)]).astype(np.int32)
    labels = (shown % KINDS == users[:, None] % KINDS).astype(np.int8)
    return Impressions(users, shown.ravel(), labels.ravel(), np.arange(0, 8 * count + 1, 8, dtype=np.int64))


def clicks_of(folder: Path, impressions: Impressions) -> list[str]:
    """Staged clicks of the impressions, in the place of what write_clicks made up."""
    rows = []
    for i, user in enumerate(impressions.users):
        part = slice(impressions.offsets[i], impressions.offsets[i + 1])
        articles, labels = impressions.articles[part], impressions.labels[part]
        skips = np.zeros(8, np.int32)
        skips[: (labels == 0).sum()] = articles[labels == 0]
        rows += [(user, click, (labels == 0).sum(), skips) for click in articles[labels == 1]]
    [file] = write_clicks(folder, len(rows), files=1)
    table = pq.read_table(file)
    columns = {
        name: [row[i] for row in rows] for i, name in enumerate(("user", "clicked", "skip_count", "skips"))
    }
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, file, row_group_size=64)
    return [file]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    random = np.random.default_rng(1)
    kinds = random.normal(size=(KINDS, SIZE)) * 2
    everything = ARTICLES + NEW_ARTICLES
    vectors = (kinds[np.arange(everything) % KINDS] + random.normal(size=(everything, SIZE)) * 0.5).astype(
        np.float32
    )
    catalogue = Catalogue(
        user_ids=pa.array([f"U{i}" for i in range(USERS)]),
        users_in_training=USERS,
        article_ids=pa.array([f"N{i}" for i in range(everything)]),
        articles_in_training=ARTICLES,
        category=Codes(np.zeros(everything, np.int64), 1),
        subcategory=Codes(np.zeros(everything, np.int64), 1),
        entity=Codes(np.zeros(everything, np.int64), 1),
        vectors=vectors,
    )
    shown = drawn_impressions(random, np.arange(ARTICLES), 200)
    valid = drawn_impressions(random, np.arange(ARTICLES, everything), 60)
    return TrainingData(catalogue, clicks_of(tmp_path_factory.mktemp("clicks"), shown), shown, valid)


def trained_with(data: TrainingData, **changed: Any) -> Trained:
    return train(data, replace(SETTINGS, **changed), device="cpu", progress=lambda text: None)


def aucs(trained: Trained, split: str) -> list[Any]:
    return [of_epoch.ranking.auc for of_epoch in trained.metrics if of_epoch.split == split]


def test_content_ranks_articles_never_seen_and_mf_cannot(data: TrainingData) -> None:
    content, mf = (
        trained_with(data, epochs=12, patience=12),
        trained_with(data, model="mf", epochs=40, patience=40),
    )
    assert max(aucs(content, "valid")) > 0.9
    assert aucs(mf, "train")[-1] > 0.95
    assert aucs(mf, "valid") == [0.5] * 40  # all candidates are new: all tied


def test_losses_fall(data: TrainingData) -> None:
    of_train = [of_epoch for of_epoch in trained_with(data).metrics if of_epoch.split == "train"]
    assert of_train[0].loss is None  # epoch 0: not trained yet
    losses = [of_epoch.loss or 0.0 for of_epoch in of_train[1:]]
    assert losses[-1] < 0.8 * losses[0]


def test_the_same_seed_gives_the_same_metrics_and_vectors(data: TrainingData) -> None:
    one, same, other = (
        trained_with(data, epochs=2),
        trained_with(data, epochs=2),
        trained_with(data, epochs=2, seed=1),
    )
    assert one.metrics == same.metrics
    assert torch.equal(one.vectors.users, same.vectors.users)
    assert torch.equal(one.vectors.articles, same.vectors.articles)
    assert one.metrics != other.metrics


def test_the_best_epoch_by_valid_auc_is_kept(data: TrainingData) -> None:
    trained = trained_with(data, epochs=8, patience=8, learning_rate=0.05)
    valid = aucs(trained, "valid")
    assert len(valid) == 9  # epoch 0 is the untrained model
    assert trained.best_epoch == int(np.argmax(valid))
    ranking, loss = evaluate(trained.vectors, data.valid)
    kept = next(m for m in trained.metrics if m.split == "valid" and m.epoch == trained.best_epoch)
    assert (ranking, loss) == (kept.ranking, kept.loss)


def test_training_stops_after_patience_epochs_without_a_better_one(data: TrainingData) -> None:
    told: list[str] = []
    trained = train(
        data, replace(SETTINGS, model="mf", epochs=30, patience=3), device="cpu", progress=told.append
    )
    # The valid articles are all new to mf, so no epoch beats the first.
    assert trained.best_epoch == 1
    assert len(aucs(trained, "valid")) == 4
    assert re.fullmatch(
        r"epoch 1 of 30: loss \d\.\d{4}, AUC train 0\.\d{4}, valid 0\.5000 \(best so far\)", told[0]
    )
    assert told[-1] == "no better valid AUC in 3 epochs: stopping, epoch 1 was the best"


def with_histories(data: TrainingData, *, misleading: bool) -> TrainingData:
    """Each user clicked four articles of the own kind; train's labels are turned round where they should
    mislead."""
    histories = np.full((USERS + 1, 4), -1, np.int32)
    for user in range(USERS):
        histories[user + 1] = np.arange(ARTICLES)[np.arange(ARTICLES) % KINDS == user % KINDS][:4]
    places = np.arange(1, USERS + 1, dtype=np.int32)
    catalogue = replace(data.catalogue, histories=histories, latest_history=places, first_history=places)
    return replace(
        data,
        catalogue=catalogue,
        valid=replace(data.valid, labels=1 - data.valid.labels if misleading else data.valid.labels),
    )


def test_training_that_only_does_harm_keeps_the_untrained_model(data: TrainingData) -> None:
    """Valid clicks what train skips: each epoch is worse than the one before, and what is kept ranks as
    zero-shot does."""
    users, articles = map(torch.from_numpy, zero_shot(with_histories(data, misleading=True).catalogue))
    zero = Vectors(users, articles, of_histories=True)
    told: list[str] = []
    data = with_histories(data, misleading=True)
    trained = train(data, replace(SETTINGS, epochs=9, patience=2), device="cpu", progress=told.append)
    valid = replace(data.valid, histories=data.valid.users + 1)
    assert trained.best_epoch == 0
    assert evaluate(trained.vectors, data.valid)[0] == evaluate(zero, valid)[0]
    assert [(m.epoch, m.split, m.loss is None) for m in trained.metrics[:2]] == [
        (0, "train", True),
        (0, "valid", False),
    ]
    assert max(m.epoch for m in trained.metrics) == 2
    assert re.fullmatch(
        r"before training, as zero-shot: AUC train \d\.\d{4}, valid 0\.\d{4} \(best so far\)", told[0]
    )
    assert told[-1] == "no better valid AUC in 2 epochs: stopping, epoch 0 was the best"


def test_where_too_few_choose_the_model_stays_as_it_began(data: TrainingData) -> None:
    """The same training, judged by one impression and by all."""
    began = {}
    for count in (1, len(data.valid.users)):
        told: list[str] = []
        end = data.valid.offsets[count]
        valid = Impressions(
            data.valid.users[:count],
            data.valid.articles[:end],
            data.valid.labels[:end],
            data.valid.offsets[: count + 1],
        )
        trained = train(replace(data, valid=valid), SETTINGS, device="cpu", progress=told.append)
        before = next(m.ranking for m in trained.metrics if (m.epoch, m.split) == (0, "valid"))
        assert max(aucs(trained, "valid")) > (before.auc or 0.0)
        began[count] = trained.best_epoch == 0
        assert began[count] == told[-1].endswith(
            "which may be chance (standard error inf): the model stays as it began"
        )
        assert (evaluate(trained.vectors, valid)[0] == before) == began[count]
    assert list(began.values()) == [True, False]


@pytest.mark.parametrize("seed", range(8))
def test_an_epoch_takes_the_place_of_no_training_where_its_gain_exceeds_the_standard_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    model, progress = torch.nn.Linear(2, 1), Progress()
    untrained = {name: weights.clone() for name, weights in model.state_dict().items()}
    before = random.random(12)
    gain = random.normal(0.02, 0.1, 12)
    progress.note(float(before.mean()), model, torch.from_numpy(before))
    progress.epoch = 1
    torch.nn.init.constant_(model.weight, 5.0)
    better = progress.note(float((before + gain).mean()), model, torch.from_numpy(before + gain))
    surely = float(gain.mean()) > float(sem(gain))
    told = progress.settle()
    assert better == (gain.mean() > 0)
    assert (progress.best_epoch, bool(told)) == (1 if surely else 0, better and not surely)
    kept = model.state_dict() if surely else untrained
    assert all(torch.equal(progress.best_weights[name], kept[name]) for name in kept)
    assert progress.settle() == "", "a run that was finished before comes to the same"


def test_metrics_equal_a_loop_of_scikit_learn_over_the_models_own_scores(data: TrainingData) -> None:
    trained = trained_with(data, epochs=2)
    users, articles = trained.vectors.users.double().numpy(), trained.vectors.articles.double().numpy()
    found = []
    for i, user in enumerate(data.valid.users):
        part = slice(data.valid.offsets[i], data.valid.offsets[i + 1])
        labels, predicted = data.valid.labels[part], articles[data.valid.articles[part]] @ users[user]
        if 0 < labels.sum() < len(labels):
            found.append((roc_auc_score(labels, predicted), ndcg_score([labels], [predicted], k=5)))
    kept = next(m for m in trained.metrics if m.split == "valid" and m.epoch == trained.best_epoch)
    assert kept.ranking.impressions == len(found)
    assert kept.ranking.auc == pytest.approx(np.mean([auc for auc, _ in found]), abs=1e-6)
    assert kept.ranking.ndcg_at_5 == pytest.approx(np.mean([ndcg for _, ndcg in found]), abs=1e-6)


def test_vectors_give_the_models_own_logits(data: TrainingData) -> None:
    for name in ("mf", "content"):
        model = models.build_model(name, data.catalogue, Shape(dim=8), seed=3)
        model.note_met(torch.arange(20), torch.arange(50))
        vectors = all_vectors(model, data.catalogue, torch.device("cpu"))
        users = torch.from_numpy(np.repeat(data.valid.users, 8)).long()
        with torch.inference_mode():
            expected = model(users, torch.from_numpy(data.valid.articles).long())
        assert torch.allclose(scores(vectors, data.valid), expected, atol=1e-6)


def test_vectors_and_scores_in_chunks_are_those_at_once(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build_model("content", data.catalogue, Shape(dim=8), seed=3)
    whole = all_vectors(model, data.catalogue, torch.device("cpu"))
    expected = scores(whole, data.train)
    monkeypatch.setattr("newslake.training.loop.evaluate._VECTOR_CHUNK", 7)
    monkeypatch.setattr("newslake.training.loop.evaluate._SCORE_CHUNK", 13)
    parts = all_vectors(model, data.catalogue, torch.device("cpu"))
    assert torch.allclose(parts.articles, whole.articles, atol=1e-6)
    assert torch.allclose(scores(parts, data.train), expected, atol=1e-5)


def test_a_model_is_added_by_a_class_and_a_line(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    class Popularity(Recommender):
        """One number per article."""

        needs_vectors = False
        defaults = Defaults(epochs=2, patience=2)

        def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
            super().__init__(catalogue, shape)
            self.of_article = torch.nn.Embedding(len(catalogue.article_ids), 1)

        def user_vectors(self, users: Any) -> Tensor:
            return torch.ones(len(users), 1)

        def article_vectors(self, articles: Any) -> Tensor:
            return self.of_article(articles)

    monkeypatch.setitem(models.MODELS, "popularity", Popularity)
    trained = trained_with(data, model="popularity", epochs=2)
    assert trained.vectors.articles.shape == (ARTICLES + NEW_ARTICLES, 1)
    assert len(trained.metrics) == 4


def test_a_loss_that_is_not_finite_fails(data: TrainingData) -> None:
    with pytest.raises(JobFailed, match=r"the loss became (nan|inf) in epoch 1: try a lower --learning-rate"):
        trained_with(data, learning_rate=1e38)


def test_impressions_without_both_labels_have_no_metrics_and_the_last_epoch_is_kept(
    data: TrainingData,
) -> None:
    clicks_only = Impressions(
        data.valid.users, data.valid.articles, np.ones_like(data.valid.labels), data.valid.offsets
    )
    trained = trained_with(replace(data, valid=clicks_only), epochs=3)
    assert aucs(trained, "valid") == [None] * 4
    assert trained.best_epoch == 3
    assert trained.metrics[-1].ranking.impressions_left_out == 60


def test_one_step_is_adams_on_the_mean_cross_entropy(data: TrainingData) -> None:
    model = models.build_model("mf", data.catalogue, Shape(dim=8), seed=0)
    reference = models.build_model("mf", data.catalogue, Shape(dim=8), seed=0).train()
    block = Examples(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([1.0, 0.0, 1.0]))
    ours = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    settings = replace(SETTINGS, model="mf")
    told = (torch.device("cpu"), 1, settings, Rate(replace(settings, learning_rate=0.01), 1, 3), Alone())
    loss, count = train_epoch(model, ours, iter([block]), 128, *told)
    plain = torch.optim.Adam(reference.parameters(), lr=0.01, weight_decay=0.1)
    expected = torch.nn.functional.binary_cross_entropy(
        torch.sigmoid(reference(block.users, block.articles)), block.labels
    )
    expected.backward()
    plain.step()
    assert (loss, count) == (pytest.approx(expected.item(), abs=1e-6), 3)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, dict(reference.named_parameters())[name], atol=1e-6)


def test_an_untouched_vector_array_serves_any_impressions() -> None:
    vectors = Vectors(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    shown = Impressions(
        np.array([1], np.int32), np.array([0, 1, 2], np.int32), np.array([0, 1, 0], np.int8), np.array([0, 3])
    )
    assert scores(vectors, shown).tolist() == [0.0, 1.0, 0.5]
    assert evaluate(vectors, shown)[0].auc == 1.0
    nothing = Impressions(
        np.array([], np.int32), np.array([], np.int32), np.array([], np.int8), np.array([0])
    )
    assert evaluate(vectors, nothing)[1] is None


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "--epochs 0: must be at least 1"),
        ("batch_size", -1, "--batch-size -1"),
        ("skips", 0, "--skips 0"),
        ("learning_rate", 0.0, "--learning-rate 0.0: must be above 0"),
        ("learning_rate", float("nan"), "--learning-rate nan"),
        ("weight_decay", -1.0, "--weight-decay -1.0"),
        ("model", "lstur", "--model lstur"),
    ],
)
def test_settings_that_make_no_sense_are_a_users_mistake(option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SETTINGS, **{option: value})


def test_devices_by_name() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("tpu", "meta", "cuda:99"):
        with pytest.raises(UserError, match=f"--device {name}"):
            torch_device(name)
