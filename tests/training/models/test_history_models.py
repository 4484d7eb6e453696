"""nrms and dssm: masks, users without a history, distinct articles, in-batch skips, and vectors that rank as
the model does."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from newslake.errors import UserError
from newslake.training.data.batches import Clicks
from newslake.training.data.loading import Catalogue, Codes
from newslake.training.loop.epoch import batch_loss
from newslake.training.loop.evaluate import all_vectors
from newslake.training.models import HistoryModel, Shape, build_model
from newslake.training.models.baseline import zero_shot
from newslake.training.models.settings import settings_for

ARTICLES, HISTORIES, LENGTH, SIZE = 30, 8, 6, 5
NAMES = ("nrms", "dssm")


def make_catalogue() -> Catalogue:
    random = np.random.default_rng(0)
    histories = random.integers(0, ARTICLES, (HISTORIES, LENGTH)).astype(np.int32)
    lengths = np.array([0, 1, 2, 3, 6, 6, 4, 5])
    histories[np.arange(LENGTH) >= lengths[:, None]] = -1
    codes = [Codes(np.arange(ARTICLES) % n, n, tuple(f"v{i}" for i in range(1, n))) for n in (4, 3, 2)]
    return Catalogue(
        user_ids=pa.array([f"U{i}" for i in range(HISTORIES)]),
        users_in_training=HISTORIES,
        article_ids=pa.array([f"N{i}" for i in range(ARTICLES)]),
        articles_in_training=20,
        category=codes[0],
        subcategory=codes[1],
        entity=codes[2],
        vectors=(random.normal(size=(ARTICLES, SIZE)) + 3).astype(np.float32),
        histories=histories,
        latest_history=np.arange(HISTORIES, dtype=np.int32)[::-1].copy(),
    )


def make_model(name: str, **shape: Any) -> HistoryModel:
    model = build_model(
        name, make_catalogue(), Shape(**{"dim": 8, "heads": 2, "history": LENGTH, **shape}), seed=1
    )
    assert isinstance(model, HistoryModel)
    random = torch.Generator().manual_seed(0)
    for weight in (model.nobody, model.gate):  # the gate is 0 before training
        torch.nn.init.normal_(weight, generator=random)
    return model


def untrained(name: str, catalogue: Catalogue, **shape: Any) -> HistoryModel:
    model = build_model(name, catalogue, Shape(**{"dim": 8, "heads": 2, "history": LENGTH, **shape}), seed=1)
    assert isinstance(model, HistoryModel)
    return model.eval()


@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_model_ranks_as_zero_shot_does(name: str, attributes: bool) -> None:
    """The oracle is a loop over histories in double precision: the cosine to the mean of what was clicked."""
    catalogue = make_catalogue()
    assert catalogue.vectors is not None
    assert catalogue.histories is not None
    served = all_vectors(untrained(name, catalogue, attributes=attributes), catalogue, torch.device("cpu"))
    scores = (served.users @ served.articles.T).double().numpy()
    vectors = catalogue.vectors.astype(np.float64)
    assert not scores[0].any()  # nothing was clicked: all candidates are tied
    for history, clicked in enumerate(catalogue.histories[1:], start=1):
        mean = vectors[clicked[clicked >= 0]].mean(axis=0)
        cosines = vectors @ mean / np.linalg.norm(vectors, axis=1) / np.linalg.norm(mean)
        assert np.array_equal(np.argsort(scores[history]), np.argsort(cosines))
        assert scores[history] / cosines == pytest.approx(
            np.full(ARTICLES, scores[history, 0] / cosines[0]), rel=1e-5
        )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learnt_gets_a_gradient_from_the_first_step_on(name: str) -> None:
    """A gate of zeros on both sides would learn nothing for ever."""
    model = untrained(name, make_catalogue()).train()
    users, articles = torch.arange(HISTORIES), torch.arange(HISTORIES * 3).view(HISTORIES, 3)
    batch = Clicks(users, users, articles, torch.ones_like(articles, dtype=torch.bool))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    chosen = settings_for(name, seed=0, skips=2)
    batch_loss(model, batch, chosen).backward()
    assert model.gate.grad is not None
    assert model.gate.grad.all()
    optimizer.step()
    batch_loss(model, batch, chosen).backward()
    assert model.news.from_text.weight.grad is not None
    assert model.news.from_text.weight.grad.any()


def test_a_users_frozen_part_is_of_unit_length_times_the_scale_and_an_articles_of_unit_length() -> None:
    catalogue, model = make_catalogue(), make_model("nrms").eval()
    served = all_vectors(model, catalogue, torch.device("cpu"))
    assert served.users.shape == (HISTORIES, SIZE + 8)
    assert torch.allclose(served.articles[:, :SIZE].norm(dim=1), torch.ones(ARTICLES), atol=1e-6)
    expected = torch.full((HISTORIES,), float(model.scale.detach().exp()))
    expected[0] = 0.0
    assert torch.allclose(served.users[:, :SIZE].norm(dim=1), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_looked_up_before_a_step_is_what_the_step_after_it_needs(name: str) -> None:
    model = make_model(name, attributes=True, dropout=0.5).train()
    users, articles = torch.arange(HISTORIES), torch.arange(HISTORIES * 3).view(HISTORIES, 3)
    shown = torch.ones_like(articles, dtype=torch.bool)
    torch.manual_seed(0)
    looked_up = model.look_up(users, articles)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1)
    ahead = model.batch_logits(users, articles, shown, looked_up)
    torch.manual_seed(0)
    assert torch.equal(ahead, model.batch_logits(users, articles, shown))


@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_served_vectors_rank_as_the_model_does(name: str, attributes: bool) -> None:
    model = make_model(name, attributes=attributes).eval()
    model.note_met(torch.arange(3), torch.arange(20))
    users, articles = torch.arange(HISTORIES), torch.arange(ARTICLES).repeat(HISTORIES, 1)
    with torch.no_grad():
        logits = model.batch_logits(users, articles, torch.ones_like(articles, dtype=torch.bool))
    served = all_vectors(model, make_catalogue(), torch.device("cpu"))
    assert served.of_histories
    assert torch.allclose(served.users @ served.articles.T, logits, atol=1e-5)
    assert torch.isfinite(served.users).all()
    assert torch.equal(served.of_users(make_catalogue()), served.users.flip(0))


@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_learnt_vectors_have_the_temperatures_length_so_that_logits_are_cosines_over_it(
    name: str, attributes: bool
) -> None:
    model = make_model(name, attributes=attributes, temperature=0.25)
    torch.nn.init.ones_(model.gate)  # open: what is learnt is served as it is
    served = all_vectors(model, make_catalogue(), torch.device("cpu"))
    for vectors in (served.users, served.articles):
        assert torch.allclose(vectors[:, SIZE:].norm(dim=1), torch.full((len(vectors),), 2.0), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_behind_the_end_of_a_history_is_not_read(name: str) -> None:
    model = make_model(name).eval()
    random = torch.Generator().manual_seed(3)
    known = torch.randn(4, 8, generator=random), torch.randn(4, SIZE, generator=random)
    with torch.no_grad():
        short = model.users_of(torch.tensor([[2, 1]]), *known)
        padded = model.users_of(torch.tensor([[2, 1, -1, -1]]), *known)
        other = model.users_of(torch.tensor([[2, 3]]), *known)
        nobody, also = model.users_of(torch.tensor([[-1, -1], [2, 1]]), *known)
        expected = torch.cat((torch.zeros(SIZE), model.nobody / model.nobody.norm() * 5**0.5))
    assert torch.allclose(short, padded, atol=1e-6)
    for part in (slice(SIZE), slice(SIZE, None)):
        assert not torch.allclose(short[:, part], other[:, part], atol=1e-3)
    assert torch.allclose(nobody, expected, atol=1e-6)
    assert torch.allclose(also, short[0], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_users_without_clicks_can_learn_from_the_first_step_on(name: str) -> None:
    """A gradient of any size passes through Adam once, and a huge one keeps later ones from counting."""
    model = untrained(name, make_catalogue())
    torch.nn.init.ones_(model.gate)  # open, as it is after the first step
    model(torch.tensor([0]), torch.tensor([3])).sum().backward()
    assert model.nobody.grad is not None
    assert 1e-4 < model.nobody.grad.norm() < 1e2


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_trained_and_the_texts_are_frozen(name: str) -> None:
    model = make_model(name, attributes=True).train()
    users = torch.arange(HISTORIES)
    batch = Clicks(
        users,
        users,
        torch.arange(3 * HISTORIES).view(HISTORIES, 3),
        torch.ones(HISTORIES, 3, dtype=torch.bool),
    )
    batch_loss(model, batch, settings_for(name, seed=0, skips=2)).backward()
    silent = [
        n
        for n, p in model.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()
    ]
    # What all candidates' logits share, or all places' weights, has no gradient: a softmax does not see it.
    assert [n for n in silent if "bias" not in n] == []
    assert not model.embeddings.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_history_length_and_recency_are_from_the_latest_click_back(name: str) -> None:
    model = make_model(name, history=2).eval()
    assert torch.equal(model.histories, torch.from_numpy(make_catalogue().histories[:, :2]).long())  # type: ignore[index]
    news = torch.randn(3, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        embeddings = torch.zeros(3, SIZE)
        before = model.users_of(torch.tensor([[0, 1]]), news, embeddings)
        dict(model.named_parameters())["pooled.recency"][0] += 50.0
        only_latest = model.users_of(torch.tensor([[0, 1]]), news, embeddings)
        without = news.clone().index_fill_(0, torch.tensor([1]), 0.0)
        latest = model.users_of(torch.tensor([[0, 1]]), without, embeddings) if name == "dssm" else None
    assert not torch.allclose(before, only_latest, atol=1e-4)
    if latest is not None:
        assert torch.allclose(only_latest, latest, atol=1e-4)


def test_softmax_loss_is_that_of_the_click_among_itself_and_the_skips_shown() -> None:
    model = make_model("nrms").train()
    shown = torch.tensor([[True, True, False], [True, True, True]])
    batch = Clicks(torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([[1, 2, 0], [3, 4, 5]]), shown)
    users, articles = model.user_vectors(torch.tensor([3, 4])), model.article_vectors(torch.arange(ARTICLES))
    logits = users @ articles.T
    one = -torch.log_softmax(logits[0, [1, 2]], 0)[0]
    other = -torch.log_softmax(logits[1, [3, 4, 5]], 0)[0]
    settings = settings_for("nrms", seed=0, skips=2)
    assert batch_loss(model, batch, settings).item() == pytest.approx(((one + other) / 2).item(), abs=1e-5)
    bce = settings_for("nrms", seed=0, skips=2, loss="bce")
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    chosen = torch.cat((logits[0, [1, 2]], logits[1, [3, 4, 5]]))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(chosen, labels)
    assert batch_loss(model, batch, bce).item() == pytest.approx(expected.item(), abs=1e-5)


def test_other_clicks_of_the_batch_are_skips_unless_the_user_clicked_them_too() -> None:
    model = make_model("dssm", in_batch=0.5).eval()
    history = make_catalogue().histories[4]  # type: ignore[index]
    known, new = int(history[0]), next(a for a in range(ARTICLES) if a not in history)
    users = torch.tensor([4, 4, 5, 1])
    clicked = torch.tensor([new, 29, known, new])
    articles = torch.stack((clicked, torch.zeros(4, dtype=torch.long)), dim=1)
    logits = model.batch_logits(users, articles, torch.ones(4, 2, dtype=torch.bool))
    others = torch.isfinite(logits[:, 2:])
    assert logits.shape == (4, 6)
    # Row 0: itself, the same user's other click, a click in the own history, the same article.
    assert others[0].tolist() == [False, False, False, False]
    assert others[3].tolist() == [False, True, known not in make_catalogue().histories[1].tolist(), False]  # type: ignore[index]
    same = model.batch_logits(users, articles, torch.ones(4, 2, dtype=torch.bool))[3, 3]
    plain = (model.user_vectors(users[3:]) @ model.article_vectors(torch.tensor([29])).T).item()
    assert same.item() == pytest.approx(plain + np.log(0.5), abs=1e-4)


def test_heads_must_divide_dim_and_histories_be_there() -> None:
    with pytest.raises(UserError, match="--heads 3 must divide --dim 8"):
        make_model("nrms", heads=3)
    without = Catalogue(**{**make_catalogue().__dict__, "histories": None})
    with pytest.raises(ValueError, match="needs the users' histories"):
        build_model("dssm", without, Shape(dim=8), seed=0)


def test_zero_shot_is_the_cosine_to_the_mean_of_the_history() -> None:
    catalogue = make_catalogue()
    users, articles = zero_shot(catalogue)
    assert catalogue.vectors is not None
    assert catalogue.histories is not None
    mean = catalogue.vectors[catalogue.histories[3, :3]].mean(axis=0)
    expected = catalogue.vectors @ mean / np.linalg.norm(catalogue.vectors, axis=1) / np.linalg.norm(mean)
    assert users[3] @ articles.T == pytest.approx(expected, abs=1e-5)
    assert not users[0].any()
