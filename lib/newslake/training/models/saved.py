"""A trained model in a folder: weights as safetensors, and what is needed to use them on other users and
articles.

<models>/<run_id>/model.safetensors
                  model.json            settings, encoder, sizes, the attributes' values; written last
                  (of a tuned encoder only the layers that were tuned: the others are the encoder's own)
                  users.parquet, articles.parquet   ids in the order of their vectors, of models that know ids
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file

from newslake.errors import UserError
from newslake.files.folders import kept
from newslake.files.remote import Place, local
from newslake.training.data.loading import Catalogue
from newslake.training.data.texts import Texts
from newslake.training.models import Recommender, build_model
from newslake.training.models.settings import TrainSettings

FORMAT = 3
ATTRIBUTES = ("category", "subcategory", "entity")


@dataclass(frozen=True)
class TunedEncoder:
    """The encoder that a model tuned the last layers of: how it was named, its digest, and the tokens that it
    reads of a text."""

    model: str
    digest: str
    text_tokens: int


@dataclass(frozen=True)
class SavedModel:
    """A model as it lies on disk.

    Attributes:
        folder: where.
        run_id: of its training.
        settings: it was trained with.
        encoder_id: whose article vectors it reads; None where it reads none.
        vector_size: of those; 0 where it reads none.
        attributes: the values of each attribute, by its name, in the order of their numbers.
        tuned: the encoder that it has layers of; None where the vectors are all that it reads.
        known_until: the impressions that it was trained on and chosen by occurred before this moment; None
            where that is not known.
    """

    folder: Path
    run_id: str
    settings: TrainSettings
    encoder_id: str | None
    vector_size: int
    attributes: dict[str, tuple[str, ...]]
    tuned: TunedEncoder | None = None
    known_until: datetime | None = None


def save_model(
    models: Place,
    model: Recommender,
    catalogue: Catalogue,
    settings: TrainSettings,
    *,
    run_id: str,
    encoder_id: str | None,
    known_until: datetime | None = None,
) -> Place:
    """Keep a trained model; in place of one of the same run. It is there completely or not at all."""
    with kept(models / run_id, "model.json") as temporary:
        save_file(
            {name: weights.cpu().contiguous() for name, weights in model.state_dict().items()},
            str(temporary / "model.safetensors"),
        )
        if not model.reads_history:
            known = {"users": (catalogue.user_ids, catalogue.users_in_training)}
            known["articles"] = (catalogue.article_ids, catalogue.articles_in_training)
            for name, (ids, count) in known.items():
                pq.write_table(pa.table({"id": ids[:count]}), temporary / f"{name}.parquet")
        about = {
            "format": FORMAT,
            "run_id": run_id,
            "settings": {name: value for name, value in settings.as_dict().items() if name != "recipe"},
            "encoder_id": encoder_id,
            "vector_size": 0 if catalogue.vectors is None else int(catalogue.vectors.shape[1]),
            "attributes": {name: list(getattr(catalogue, name).names) for name in ATTRIBUTES},
            "known_until": known_until and known_until.isoformat(),
        }
        if settings.tune_layers and catalogue.texts is not None:
            encoder = catalogue.texts.encoder
            about["tuned"] = asdict(TunedEncoder(encoder.spec.encoder, encoder.digest, encoder.max_tokens))
        (temporary / "model.json").write_text(
            json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8"
        )
    return models / run_id


def is_saved(models: Place, run_id: str) -> bool:
    """Whether the run's model is there."""
    return (models / run_id / "model.json").exists()


def is_run(folder: Place) -> bool:
    """Whether the folder's name is a run's, and not one for the time being, which a kill may leave."""
    return ".tmp-" not in folder.name


def load_saved(models: Place, run_id: str | None) -> SavedModel:
    """The model of a run, or the only one that there is.

    Raises:
        UserError: there is none, several, or one in a format of another version.
    """
    found = sorted(path.parent.name for path in models.glob("*/model.json") if is_run(path.parent))
    if not found:
        raise UserError(f"{models} holds no trained model: run jobs/train_recommender.py first")
    if run_id is None and len(found) > 1:
        raise UserError(f"{models} holds several models: choose with --model-run {' or '.join(found)}")
    if run_id is not None and run_id not in found:
        raise UserError(f"--model-run {run_id}: {models} has no such model; it has {', '.join(found)}")
    folder = models / (run_id or found[0])
    about: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if about["format"] != FORMAT:
        raise UserError(
            f"{folder}: a model in format {about['format']}, but this version reads {FORMAT}: train it again"
        )
    attributes = {name: tuple(values) for name, values in about["attributes"].items()}
    settings = TrainSettings(**about["settings"])
    tuned = TunedEncoder(**about["tuned"]) if "tuned" in about else None
    known_until = datetime.fromisoformat(about["known_until"]) if about.get("known_until") else None
    return SavedModel(
        local(folder),
        about["run_id"],
        settings,
        about["encoder_id"],
        about["vector_size"],
        attributes,
        tuned,
        known_until,
    )


def restore(saved: SavedModel, catalogue: Catalogue) -> Recommender:
    """The model over a catalogue, whose attributes are numbered as the model's are (`data.codes_of` with
    `names`).

    Raises:
        UserError: the catalogue's vectors have another size, or its attributes, ids or encoder are not the
            model's.
    """
    size = 0 if catalogue.vectors is None else int(catalogue.vectors.shape[1])
    if saved.vector_size and size != saved.vector_size:
        raise UserError(
            f"model run {saved.run_id} reads vectors of {saved.vector_size} numbers, but the articles' have"
            f" {size}"
        )
    for name, values in saved.attributes.items():
        if getattr(catalogue, name).names != values:
            raise UserError(
                f"model run {saved.run_id} was trained on other values of {name} than these tables hold:"
                " train it again"
            )
    if saved.tuned is not None:
        _check_texts(saved, catalogue.texts)
    for name in ("users", "articles"):
        file = saved.folder / f"{name}.parquet"
        ids = catalogue.user_ids if name == "users" else catalogue.article_ids
        count = catalogue.users_in_training if name == "users" else catalogue.articles_in_training
        if file.exists() and pq.read_table(file)["id"].combine_chunks().cast(pa.string()) != ids[:count].cast(
            pa.string()
        ):
            raise UserError(
                f"model run {saved.run_id} knows other {name} than these tables hold: train it again"
            )
    catalogue = replace(catalogue, vectors=catalogue.vectors if saved.vector_size else None)
    model = build_model(saved.settings.model, catalogue, saved.settings.shape, seed=0)
    model.load_state_dict(load_file(str(saved.folder / "model.safetensors")))
    return model.eval()


def _check_texts(saved: SavedModel, texts: Texts | None) -> None:
    assert saved.tuned is not None
    if texts is None:
        raise UserError(
            f"model run {saved.run_id} reads the articles' texts by {saved.tuned.model}, and none are at hand"
        )
    if texts.encoder.digest != saved.tuned.digest:
        raise UserError(
            f"model run {saved.run_id} tuned layers of {saved.tuned.model}, but the encoder in"
            f" {texts.encoder.folder} is another: give the right one with --encoder, or train again"
        )
    if texts.encoder.max_tokens != saved.tuned.text_tokens:
        raise UserError(
            f"model run {saved.run_id} reads {saved.tuned.text_tokens} tokens of a text, not"
            f" {texts.encoder.max_tokens}"
        )
