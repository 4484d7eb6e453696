"""Training models that tune their encoder: resumed to the same result, saved without the frozen layers, by
two processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from newslake.errors import UserError
from newslake.training.data.loading import TrainingData
from newslake.training.loop.evaluate import all_vectors
from newslake.training.loop.processes import Together
from newslake.training.loop.trainer import train
from newslake.training.models import build_model
from newslake.training.models.saved import load_saved, restore, save_model
from tests.ports import free_port
from tests.training.tuned_worlds import CPU, make_model, settings, small_world, texts_of
from tests.training.worlds import trained


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return small_world(tmp_path_factory.mktemp("tuned"))


@pytest.mark.parametrize("changed", [{}, {"precision": "bf16"}, {"model": "dssm"}])
def test_a_stopped_run_goes_on_to_the_same_result_and_ranks_as_it_serves(
    data: TrainingData, tmp_path: Path, changed: dict[str, Any]
) -> None:
    chosen, file = settings(**{"dropout": 0.2, "schedule": "cosine", **changed}), tmp_path / "run.pt"
    undisturbed = trained(data, chosen)

    def stop(text: str) -> None:
        if text.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, chosen, progress=stop, checkpoint=file)
    told: list[str] = []
    resumed = trained(data, chosen, progress=told.append, checkpoint=file)
    assert told[0] == "going on after epoch 1 of 2"
    assert resumed.metrics == undisturbed.metrics
    assert torch.equal(resumed.vectors.users, undisturbed.vectors.users)
    assert torch.equal(resumed.vectors.articles, undisturbed.vectors.articles)
    losses = [m.loss or 0.0 for m in undisturbed.metrics if m.split == "train" and m.epoch > 0]
    assert losses[-1] < losses[0]
    assert max(m.ranking.auc or 0.0 for m in undisturbed.metrics if m.split == "valid") > 0.7
    users, articles = torch.arange(61), torch.arange(120).repeat(61, 1)
    with torch.no_grad():
        logits = undisturbed.model.eval().batch_logits(
            users, articles, torch.ones_like(articles, dtype=torch.bool)
        )
    assert torch.allclose(undisturbed.vectors.users @ undisturbed.vectors.articles.T, logits, atol=1e-4)


def test_a_saved_model_has_the_tuned_layers_alone_and_gives_its_vectors(
    data: TrainingData, tmp_path: Path
) -> None:
    chosen, catalogue = settings(epochs=1, tune_learning_rate=0.01), data.catalogue
    found = trained(data, chosen)
    save_model(tmp_path, found.model, catalogue, chosen, run_id="run", encoder_id="E")
    saved = load_saved(tmp_path, None)
    assert saved.settings == chosen
    assert saved.tuned is not None
    assert (saved.tuned.digest, saved.tuned.text_tokens) == (texts_of(catalogue).encoder.digest, 50)
    [layer] = {".".join(name.split(".")[:6]) for name in found.model.state_dict() if ".tuned." in name}
    assert layer == "news.tuned.model.encoder.layer.2"
    vectors = all_vectors(restore(saved, catalogue), catalogue, CPU)
    assert torch.equal(vectors.articles, found.vectors.articles)
    assert torch.equal(vectors.users, found.vectors.users)
    untuned = all_vectors(build_model("nrms", catalogue, chosen.shape, seed=0), catalogue, CPU)
    assert not torch.allclose(untuned.articles, vectors.articles, atol=1e-2)


def test_a_saved_model_is_refused_without_its_encoder(data: TrainingData, tmp_path: Path) -> None:
    chosen, catalogue = settings(), data.catalogue
    save_model(tmp_path, make_model(data, chosen), catalogue, chosen, run_id="run", encoder_id="E")
    saved, texts = load_saved(tmp_path, "run"), texts_of(catalogue)
    with pytest.raises(UserError, match=r"reads the articles' texts by .*bert, and none are at hand"):
        restore(saved, replace(catalogue, texts=None))
    other = replace(texts, encoder=replace(texts.encoder, digest="0" * 64))
    with pytest.raises(
        UserError, match=r"the encoder in .*bert is another: give the right one with --encoder"
    ):
        restore(saved, replace(catalogue, texts=other))
    longer = replace(texts, encoder=replace(texts.encoder, max_tokens=60))
    with pytest.raises(UserError, match="reads 50 tokens of a text, not 60"):
        restore(saved, replace(catalogue, texts=longer))


def _one_of_two(rank: int, folder: str, port: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    data = small_world(Path(folder) / f"rank{rank}")
    found = train(
        data,
        settings(processes=2, epochs=5, tune_learning_rate=0.01),
        device="cpu",
        progress=lambda text: None,
        checkpoint=Path(folder) / "run.pt",
        group=Together(CPU),
    )
    torch.save(
        {name: weight.clone() for name, weight in found.model.named_parameters()},
        Path(folder) / f"weights{rank}.pt",
    )
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_tune_one_encoder(data: TrainingData, tmp_path: Path) -> None:
    for rank in (0, 1):
        small_world(tmp_path / f"rank{rank}")
    mp.spawn(_one_of_two, args=(str(tmp_path), free_port()), nprocs=2)
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    [other] = [torch.load(tmp_path / "weights1.pt", weights_only=True)]
    assert any(".tuned." in name for name in other)
    # The second process keeps no best weights: it ends with those of the last epoch, as the checkpoint has
    # them.
    assert all(torch.equal(weight, state["model"][name]) for name, weight in other.items())
    together = trained(
        data, settings(processes=2, epochs=5, tune_learning_rate=0.01), checkpoint=tmp_path / "run.pt"
    )
    # What is learnt begins behind a gate of 0: after two epochs the two ways are still apart by chance.
    alone = trained(data, settings(epochs=5, tune_learning_rate=0.01))
    aucs = [
        max(m.ranking.auc or 0.0 for m in found.metrics if m.split == "valid") for found in (together, alone)
    ]
    assert aucs[0] == pytest.approx(aucs[1], abs=0.05)
