"""The models: the tutorial's layers, what they do with ids never met, and how one is added."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from newslake.errors import UserError
from newslake.training.data.loading import Catalogue, Codes
from newslake.training.loop.evaluate import all_vectors
from newslake.training.models import MODELS, IdEmbedding, Shape, build_model, model_class
from newslake.training.models.by_id import ContentModel

DIM = 5


def make_catalogue(users: int = 6, articles: int = 10, size: int = 7) -> Catalogue:
    random = np.random.default_rng(0)
    return Catalogue(
        user_ids=pa.array([f"U{i}" for i in range(users)]),
        users_in_training=users - 2,
        article_ids=pa.array([f"N{i}" for i in range(articles)]),
        articles_in_training=articles - 3,
        category=Codes(np.arange(articles) % 4, 4),
        subcategory=Codes(np.arange(articles) % 3, 3),
        entity=Codes(np.arange(articles) % 2, 2),
        vectors=random.normal(size=(articles, size)).astype(np.float32),
        histories=np.array([[-1, -1, -1], [3, 0, 8], [9, -1, -1], [1, 2, -1]], dtype=np.int32),
        latest_history=np.array([1, 2, 3, 0, 2, 1], dtype=np.int32)[:users],
        first_history=np.array([1, 0, 3, 0, 2, 1], dtype=np.int32)[:users],
    )


def frozen_of(catalogue: Catalogue) -> np.ndarray:
    """(users, articles) zero-shot's cosines to what each user clicked before the first impression, in double
    precision."""
    assert catalogue.vectors is not None
    assert catalogue.histories is not None
    assert catalogue.first_history is not None
    vectors = catalogue.vectors.astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for clicked in catalogue.histories[catalogue.first_history]:
        mean = vectors[clicked[clicked >= 0]].sum(axis=0)
        rows.append(mean / np.linalg.norm(mean) if mean.any() else mean)
    return np.stack(rows) @ units.T


def test_content_is_two_sigmoid_layers_over_five_parts_and_an_inner_product_beside_zero_shots() -> None:
    catalogue = make_catalogue()
    assert catalogue.vectors is not None
    assert catalogue.histories is not None
    model = build_model("content", catalogue, Shape(dim=DIM), seed=1).train()
    assert isinstance(model, ContentModel)
    torch.nn.init.normal_(model.joined.weight, generator=torch.Generator().manual_seed(0))
    users, articles = torch.tensor([0, 3, 1]), torch.tensor([2, 6, 0])
    p = dict(model.named_parameters())
    text = torch.sigmoid(
        torch.from_numpy(catalogue.vectors)[articles] @ p["from_text.weight"].T + p["from_text.bias"]
    )
    parts = [p["articles.weight"][articles], text]
    parts += [
        p[f"{name}.values.weight"][torch.from_numpy(getattr(catalogue, name).values)[articles]]
        for name in ("category", "subcategory", "entity")
    ]
    news = torch.sigmoid(torch.cat(parts, dim=1) @ p["joined.weight"].T + p["joined.bias"])
    clicks = torch.from_numpy(catalogue.vectors)[catalogue.histories[[1, 0, 0]]].sum(dim=1)
    clicks[1:] = 0  # users 3 and 1 had clicked nothing before their first impression
    of_users = (
        p["users.weight"][users] + torch.nn.functional.normalize(clicks, dim=1) @ p["from_clicks.weight"].T
    )
    cosines = torch.from_numpy(frozen_of(catalogue)[users, articles]).float()
    expected = (of_users * news).sum(dim=1) + p["scale"].exp() * cosines
    assert p["joined.weight"].shape == (DIM, 5 * DIM)
    assert torch.allclose(model(users, articles), expected, atol=1e-6)


def test_untrained_content_ranks_as_zero_shot_does() -> None:
    catalogue = make_catalogue()
    served = all_vectors(
        build_model("content", catalogue, Shape(dim=DIM), seed=1), catalogue, torch.device("cpu")
    )
    assert served.users.shape == (6, 7 + DIM)
    scores, cosines = (served.users @ served.articles.T).numpy(), frozen_of(catalogue)
    for user in (0, 2, 4, 5):
        assert np.array_equal(np.argsort(scores[user]), np.argsort(cosines[user]))
    for user in (1, 3):
        assert np.ptp(scores[user]) < 1e-8  # a sum in another order: equal but for its last bit


def test_mf_is_an_inner_product_of_two_tables() -> None:
    model = build_model("mf", make_catalogue(), Shape(dim=DIM), seed=1).train()
    users, articles = torch.tensor([0, 3]), torch.tensor([5, 6])
    p = dict(model.named_parameters())
    expected = (p["users.weight"][users] * p["articles.weight"][articles]).sum(dim=1)
    assert torch.allclose(model(users, articles), expected)


def test_the_articles_vectors_are_frozen() -> None:
    model = build_model("content", make_catalogue(), Shape(dim=DIM), seed=1)
    assert model.text.shape == (10, 7)
    assert not model.text.requires_grad
    assert not any(parameter is model.text for parameter in model.parameters())


def test_ids_not_met_in_training_have_the_mean_of_those_met() -> None:
    table = IdEmbedding(4, 3, scale=1.0)
    table.note_met(torch.tensor([0, 2]))
    table.eval()
    found = table(torch.tensor([0, 1, 2, 3, 4, 99]))
    mean = table.weight[[0, 2]].mean(dim=0)
    assert torch.equal(found[0], table.weight[0])
    assert torch.equal(found[2], table.weight[2])
    for place in (1, 3, 4, 5):
        assert torch.allclose(found[place], mean)


def test_before_training_every_id_has_the_mean() -> None:
    table = IdEmbedding(4, 3, scale=1.0).eval()
    assert torch.allclose(table(torch.arange(5)), table.weight.mean(dim=0).expand(5, 3))


def test_new_users_and_articles_differ_only_by_what_is_known_of_them() -> None:
    catalogue = make_catalogue()
    users, articles = torch.arange(6), torch.arange(10)
    for name, same in (("mf", True), ("content", False)):
        model = build_model(name, catalogue, Shape(dim=DIM), seed=1)
        model.note_met(users[:4], articles[:7])
        model.eval()
        new_users = model.user_vectors(users)[4:]
        assert bool(torch.equal(*new_users)) is same  # content knows what they clicked
        new = model.article_vectors(articles)[7:]
        assert bool(torch.equal(new[0], new[1])) is same


def test_a_seed_decides_the_first_weights_and_leaves_torchs_own_state() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = (
        build_model("content", make_catalogue(), Shape(dim=DIM), seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["users.weight"], other["users.weight"])


def test_unknown_models_are_a_users_mistake_that_names_the_others() -> None:
    with pytest.raises(
        UserError, match="--model lstur: there is no such model; there are mf, content, nrms, dssm"
    ):
        model_class("lstur")
    assert set(MODELS) == {"mf", "content", "nrms", "dssm"}


def test_content_without_vectors_is_refused() -> None:
    catalogue = make_catalogue()
    without = Catalogue(**{**catalogue.__dict__, "vectors": None})
    with pytest.raises(ValueError, match="needs the articles' vectors"):
        build_model("content", without, Shape(dim=DIM), seed=1)
