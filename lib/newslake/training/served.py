"""A saved model that reads histories, made ready for workers: its articles as files that all of them open,
and the model itself without them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.folders import parquet_files, read, write
from newslake.files.remote import Place, local, opened_array, save_array, writing
from newslake.lake.lakehouse import Lakehouse
from newslake.switches.classes import classed_news
from newslake.training.data import examples

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    import torch

    from newslake.training.data.loading import Catalogue
    from newslake.training.data.texts import Texts
    from newslake.training.models import HistoryModel
    from newslake.training.models.saved import SavedModel

Floats = npt.NDArray[np.float32]
_USERS_AT_ONCE = 512


@dataclass(frozen=True)
class ServedModel:
    """What a worker makes vectors of users with.

    Attributes:
        model: without the vectors of articles.
        width: latest clicks that it reads.
        embeddings: file (npy) of the articles' embeddings, (articles, size).
        news: file of the news tower's vectors, (articles, dim).
        served: file of the vectors that users' are multiplied with, (articles, size + dim).
    """

    model: "HistoryModel"
    width: int
    embeddings: Place
    news: Place
    served: Place

    def opened(self) -> "OpenModel":
        """The model in this process, with its files open."""
        return OpenModel(self)


class OpenModel:
    """A ServedModel in a worker."""

    def __init__(self, given: ServedModel) -> None:
        import torch

        torch.set_num_threads(1)
        # Copied on write, which never happens: all workers share the pages, and torch does not warn of memory
        # that it may not write.
        tables = (np.load(local(file), mmap_mode="c") for file in (given.news, given.embeddings))
        self._tables = [torch.from_numpy(table) for table in tables]
        self._model, self.width, self._served = given.model, given.width, given.served

    @cached_property
    def served(self) -> Floats:
        """(articles, size + dim) what users' vectors are multiplied with; opened where it is asked for."""
        return opened_array(self._served)

    def users(self, clicked: npt.NDArray[np.int64]) -> Floats:
        """(n, size + dim) vectors of users who clicked these articles: (n, width), latest first, -1 for
        none."""
        import torch

        with torch.inference_mode():
            parts = [
                self._model.users_of(part, *self._tables)
                for part in torch.from_numpy(clicked).split(_USERS_AT_ONCE)
            ]
        found: Floats = torch.cat(parts).numpy() if parts else np.empty((0, 1), np.float32)
        return found


def check_encoder(lake: Lakehouse, saved: "SavedModel") -> None:
    """Refuse a model that knows users by id, or whose encoder's vectors are not there.

    Raises:
        UserError: it is one.
    """
    from newslake.training.models import model_class

    kind = saved.settings.model
    if not model_class(kind).reads_history:
        raise UserError(
            f"model run {saved.run_id} is of {kind}, which has no vector for new users: train nrms or dssm"
        )
    found = sorted(
        row[0] for row in lake.read("article_embeddings").select("encoder_id").distinct().collect()
    )
    if saved.encoder_id not in found:
        raise UserError(
            f"model run {saved.run_id} reads vectors by {saved.encoder_id}, but article_embeddings has only"
            f" {', '.join(found) or 'none'}: run jobs/encode_articles.py with that encoder, or train again"
        )


def served_model(
    lake: Lakehouse,
    saved: "SavedModel",
    folder: Place,
    *,
    encoder: str | None = None,
    device: str = "cpu",
    only: DataFrame | None = None,
) -> tuple[ServedModel, "Catalogue", DataFrame]:
    """A saved model with the articles that have a vector, numbered by id.

    Args:
        lake: with news and article_embeddings.
        saved: of nrms or dssm.
        folder: a new one that all workers see.
        encoder: where the encoder lies now, of a model that tuned one; None: where it lay then.
        device: where the articles' vectors are computed.
        only: news_id: these articles alone; None: all.

    Returns:
        The model, its articles, and their numbers: news_id, article.

    Raises:
        UserError: the model cannot be used on these tables.
    """
    import torch

    from newslake.training.models import HistoryModel
    from newslake.training.models.saved import restore

    check_encoder(lake, saved)
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = _articles(lake, saved, folder, encoder, only)
    model = restore(saved, catalogue)
    assert isinstance(model, HistoryModel)  # check_encoder refuses the others
    news, served = _article_vectors(model, len(catalogue.article_ids), torch.device(device))
    files = []
    for name, vectors in (("embeddings", model.embeddings.numpy()), ("news", news), ("served", served)):
        files.append(folder / f"{name}.npy")
        save_array(files[-1], vectors)
    width = model.histories.shape[1]
    # What the workers are sent: without the articles' vectors, which the files have.
    model.news = torch.nn.Identity()  # type: ignore[assignment]
    model.embeddings = torch.empty((0, 0))
    model.histories = torch.empty((0, width), dtype=torch.long)
    return ServedModel(model, width, *files), catalogue, read(lake.spark, folder / "index.parquet")


def _articles(
    lake: Lakehouse, saved: "SavedModel", folder: Place, encoder: str | None, only: DataFrame | None
) -> "Catalogue":
    """The articles; their numbers are in folder/index.parquet too. A tuned encoder reads texts."""
    from newslake.training.data.loading import Catalogue, codes_of, flat_vectors

    vectors = (
        lake.read("article_embeddings")
        .where(F.col("encoder_id") == F.lit(saved.encoder_id))
        .select("news_id", "embedding")
    )
    if only is not None:
        vectors = vectors.join(only.select("news_id"), on="news_id", how="left_semi")
    write(vectors.join(examples.attributes(classed_news(lake)), on="news_id", how="left"), folder / "found")
    table = pq.read_table(parquet_files(folder / "found")).sort_by("news_id")
    ids = table["news_id"].combine_chunks()
    with writing(folder / "index.parquet") as sink:
        pq.write_table(
            pa.table({"news_id": ids, "article": pa.array(np.arange(len(ids), dtype=np.int32))}), sink
        )
    codes = {
        name: codes_of(table[name], saved.attributes[name]) for name in ("category", "subcategory", "entity")
    }
    return Catalogue(
        user_ids=pa.array([], pa.string()),
        users_in_training=0,
        article_ids=ids,
        articles_in_training=0,
        category=codes["category"],
        subcategory=codes["subcategory"],
        entity=codes["entity"],
        # Arrow's memory may not be written, of which torch warns.
        vectors=flat_vectors(table["embedding"]).copy(),
        histories=np.full((1, saved.settings.history), -1, dtype=np.int32),
        latest_history=np.zeros(0, dtype=np.int32),
        texts=_texts(lake, saved, encoder, folder, len(ids)) if saved.tuned else None,
    )


def _texts(
    lake: Lakehouse, saved: "SavedModel", encoder: str | None, folder: Place, articles: int
) -> "Texts":
    """The texts of those articles, for a model that tuned its encoder."""
    from newslake.training.data.texts import load_texts, texts_of, tokenised, tuned_encoder

    tuned = saved.tuned
    assert tuned is not None
    assert saved.encoder_id is not None  # check_encoder
    found = tuned_encoder(
        encoder or tuned.model,
        saved.encoder_id,
        layers=saved.settings.tune_layers,
        max_tokens=tuned.text_tokens,
    )
    index = read(lake.spark, folder / "index.parquet")
    write(
        tokenised(index.join(texts_of(lake.read("news"), found), on="news_id", how="inner"), found),
        folder / "texts",
    )
    return load_texts(parquet_files(folder / "texts"), articles, found)


def _article_vectors(model: "HistoryModel", articles: int, device: "torch.device") -> tuple[Floats, Floats]:
    """(articles, dim) of the news tower, and (articles, size + dim) as served. The model is on the CPU
    afterwards."""
    import torch

    model.to(device)
    with torch.inference_mode():
        parts = [model.news_of(part.to(device)) for part in torch.arange(articles).split(8192)]
        news = torch.cat(parts) if parts else torch.empty((0, 1))
        found = news.cpu().numpy(), model.candidates_of(news, model.embeddings).cpu().numpy()
    model.to("cpu")
    return found
