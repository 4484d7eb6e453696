"""Training nrms and dssm: new users and articles are ranked, a killed run goes on to the same result, several
processes agree."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from newslake.errors import JobFailed, UserError
from newslake.training.data.feed import ClickFeed
from newslake.training.data.loading import TrainingData
from newslake.training.loop.epoch import Rate
from newslake.training.loop.evaluate import all_vectors, evaluate
from newslake.training.loop.processes import Alone, Together
from newslake.training.loop.trainer import Trained, train
from newslake.training.models.saved import load_saved, restore, save_model
from tests.ports import free_port
from tests.training.worlds import SMALL, settings, trained, world


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return world(tmp_path_factory.mktemp("world"))


def valid_aucs(found: Trained) -> list[float]:
    """After each epoch of training; zero-shot, epoch 0, ranks this world well already."""
    return [m.ranking.auc or 0.0 for m in found.metrics if m.split == "valid" and m.epoch > 0]


@pytest.mark.parametrize("changed", [{}, {"attributes": False}, {"loss": "bce"}, {"precision": "bf16"}])
@pytest.mark.parametrize("model", ["nrms", "dssm"])
def test_new_users_and_new_articles_are_ranked_where_mf_cannot(
    data: TrainingData, model: str, changed: dict[str, Any]
) -> None:
    found = trained(data, settings(model, **changed))
    assert max(valid_aucs(found)) > (0.8 if changed.get("loss") == "bce" else 0.9)
    losses = [m.loss or 0.0 for m in found.metrics if m.split == "train" and m.epoch > 0]
    assert losses[-1] < 0.9 * losses[0]


def test_mf_cannot_tell_new_users_apart_and_content_can_by_what_they_clicked(data: TrainingData) -> None:
    assert max(valid_aucs(trained(data, settings("mf", batch_size=64)))) < 0.7
    assert max(valid_aucs(trained(data, settings("content", batch_size=64)))) > 0.9
    assert data.catalogue.first_history is not None
    without = replace(data, catalogue=replace(data.catalogue, first_history=None))
    assert max(valid_aucs(trained(without, settings("content", batch_size=64)))) < 0.7


@pytest.mark.parametrize("model", ["nrms", "content"])
def test_a_stopped_run_goes_on_from_its_last_epoch_to_the_same_result(
    data: TrainingData, tmp_path: Path, model: str
) -> None:
    chosen, file = (
        settings(model, dropout=0.3, schedule="cosine", patience=4),
        tmp_path / "checkpoints" / "run.pt",
    )
    undisturbed = trained(data, chosen)
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if text.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, chosen, progress=stop, checkpoint=file)
    assert file.exists()
    resumed = trained(data, chosen, progress=told.append, checkpoint=file)
    assert [text.split(":")[0] for text in told] == [
        "before training, as zero-shot",
        "epoch 1 of 4",
        "epoch 2 of 4",
        "epoch 3 of 4",
        "going on after epoch 2 of 4",
        "epoch 3 of 4",
        "epoch 4 of 4",
    ]
    assert resumed.metrics == undisturbed.metrics
    assert resumed.best_epoch == undisturbed.best_epoch
    assert torch.equal(resumed.vectors.users, undisturbed.vectors.users)
    assert torch.equal(resumed.vectors.articles, undisturbed.vectors.articles)
    again = trained(data, chosen, progress=told.append, checkpoint=file)
    assert told[-1] == "trained already: epoch 4"
    assert torch.equal(again.vectors.articles, undisturbed.vectors.articles)


@pytest.mark.parametrize("model", ["nrms", "dssm", "content", "mf"])
def test_a_saved_model_gives_the_vectors_it_had(data: TrainingData, tmp_path: Path, model: str) -> None:
    chosen = settings(model, epochs=1)
    found, again = trained(data, chosen), trained(data, chosen)
    assert torch.equal(found.vectors.users, again.vectors.users)
    assert torch.equal(found.vectors.articles, again.vectors.articles)
    with torch.no_grad():  # no weight is a first one, whichever epoch was kept
        for weight in found.model.parameters():
            weight.add_(0.1)
    expected = all_vectors(found.model, data.catalogue, torch.device("cpu"))
    save_model(tmp_path, found.model, data.catalogue, chosen, run_id="run", encoder_id="E")
    save_model(tmp_path, found.model, data.catalogue, chosen, run_id="run", encoder_id="E")
    saved = load_saved(tmp_path, None)
    assert (saved.run_id, saved.encoder_id, saved.settings) == ("run", "E", chosen)
    vectors = all_vectors(restore(saved, data.catalogue), data.catalogue, torch.device("cpu"))
    assert torch.equal(vectors.users, expected.users)
    assert torch.equal(vectors.articles, expected.articles)
    assert evaluate(vectors, data.valid)[0] == evaluate(expected, data.valid)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_saved_model_is_refused_where_sizes_or_values_differ(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no trained model: run jobs/train_recommender.py first"):
        load_saved(tmp_path, None)
    chosen = settings("nrms", epochs=1)
    found, catalogue = trained(data, chosen), data.catalogue
    for name in ("a", "b"):
        save_model(tmp_path, found.model, catalogue, chosen, run_id=name, encoder_id="E")
    with pytest.raises(UserError, match="several models: choose with --model-run a or b"):
        load_saved(tmp_path, None)
    with pytest.raises(UserError, match=r"--model-run c: .* has no such model; it has a, b"):
        load_saved(tmp_path, "c")
    saved = load_saved(tmp_path, "a")
    assert catalogue.vectors is not None
    with pytest.raises(UserError, match="model run a reads vectors of 6 numbers, but the articles' have 5"):
        restore(saved, replace(catalogue, vectors=catalogue.vectors[:, :5].copy()))
    with pytest.raises(UserError, match="other values of category"):
        restore(saved, replace(catalogue, category=replace(catalogue.category, names=("another",))))
    mf = settings("mf", epochs=1)
    save_model(tmp_path, trained(data, mf).model, catalogue, mf, run_id="m", encoder_id=None)
    with pytest.raises(UserError, match="knows other users"):
        restore(
            load_saved(tmp_path, "m"),
            replace(catalogue, user_ids=catalogue.user_ids.take([*range(1, 60), 0])),
        )


def test_the_rate_rises_falls_and_is_the_same_after_a_resume() -> None:
    rates = Rate(settings("nrms", schedule="cosine", warmup=0.25, learning_rate=1.0), 1, 100)
    assert [rates.at(n) for n in (0, 50, 100)] == [0.0, pytest.approx(0.5), pytest.approx(1.0)]
    last = Rate(settings("nrms", schedule="cosine", warmup=0.25, learning_rate=1.0), 4, 100)
    assert 0 < last.at(50) < 0.1
    assert last.at(1000) == pytest.approx(0.0)
    constant = Rate(settings("nrms", schedule="constant"), 3, 100)
    assert constant.at(10) == SMALL["learning_rate"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("dropout", 1.0, "--dropout 1.0"),
        ("temperature", 0.0, "--temperature 0.0"),
        ("warmup", 1.0, "--warmup 1.0"),
        ("heads", 0, "--heads 0"),
    ],
)
def test_settings_that_make_no_sense_are_a_users_mistake(option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings("nrms", **{option: value})


def _one_of_two(rank: int, folder: str, clicks: int, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    data = world(Path(folder) / f"world{rank}", per_group=clicks)
    feed = ClickFeed(
        data.click_files, seed=0, skips=4, batch_size=16, grouped=True, shard=rank, shard_count=2
    )
    (Path(folder) / f"rows{rank}").write_text(str(feed.rows))
    file = Path(folder) / "run.pt"
    group = Together(torch.device("cpu"))
    train(
        data,
        settings("nrms", processes=2, epochs=3),
        device="cpu",
        progress=lambda text: None,
        checkpoint=file,
        group=group,
    )
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_with_uneven_shards_train_on_every_click_and_end(
    data: TrainingData, tmp_path: Path
) -> None:
    # One row group of 400 clicks and one of the rest: the second process is out of clicks long before the
    # first.
    mp.spawn(_one_of_two, args=(str(tmp_path), 400, free_port()), nprocs=2)
    clicks = int(data.train.labels.sum())
    rows = [int((tmp_path / f"rows{rank}").read_text()) for rank in (0, 1)]
    assert rows == [400, clicks - 400]
    chosen = settings("nrms", processes=2, epochs=3)
    together = trained(data, chosen, checkpoint=tmp_path / "run.pt")
    assert together.examples == 3 * clicks * 5
    alone = trained(data, settings("nrms", epochs=3))
    assert valid_aucs(together)[-1] == pytest.approx(valid_aucs(alone)[-1], abs=0.05)
    assert [m.epoch for m in together.metrics if m.split == "valid"] == [0, 1, 2, 3]


def test_alone_nothing_is_said() -> None:
    group = Alone()
    assert group.average_gradients([], 7)() == 7
    assert group.total(1.0, 2.0) == [1.0, 2.0]
    assert group.agree(True)


def test_more_processes_than_row_groups_fail_at_once(data: TrainingData) -> None:
    with pytest.raises(JobFailed, match="too few for 99 processes"):
        ClickFeed(data.click_files, seed=0, skips=4, batch_size=1, shard=0, shard_count=99)
