"""Saved models on the impressions of test: each reads histories as they were at each impression, by its own
weights and numbering."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from newslake.lake.lakehouse import Lakehouse
from newslake.switches.classes import classed_news
from newslake.training.data.loading import Catalogue, coded_as, load_catalogue, load_impressions
from newslake.training.data.preparation import Prepared
from newslake.training.data.staging import stage_vectors
from newslake.training.data.texts import stage_texts, tuned_encoder
from newslake.training.data.time_splits import TEST
from newslake.training.judging.spark_evaluate import resampled
from newslake.training.loop.evaluate import Vectors, all_vectors, scores
from newslake.training.loop.trainer import torch_device
from newslake.training.metrics import Floats, ImpressionMetrics, impression_metrics
from newslake.training.models.baseline import zero_shot
from newslake.training.models.saved import ATTRIBUTES, SavedModel, restore
from newslake.training.runs import Place


def of_run(lake: Lakehouse, prepared: Prepared, saved: SavedModel, place: Place) -> ImpressionMetrics:
    """The metrics of every impression of test by a saved model, whatever it was trained on.

    Raises:
        UserError: the vectors or the encoder that it reads are not there any more, or are others.
    """
    device = torch_device(place.device)
    catalogue = catalogue_for(lake, prepared, saved)
    vectors = all_vectors(restore(saved, catalogue).to(device), catalogue, device)
    return _judged(vectors, prepared)


def of_zero_shot(prepared: Prepared) -> ImpressionMetrics:
    """The metrics of every impression of test by the mean of the history's embeddings."""
    users, articles = zero_shot(load_catalogue(prepared.staged, prepared.vectors))
    return _judged(Vectors(torch.from_numpy(users), torch.from_numpy(articles), of_histories=True), prepared)


def catalogue_for(lake: Lakehouse, prepared: Prepared, saved: SavedModel) -> Catalogue:
    """What was staged as a model takes it: with the vectors of its encoder, the texts where it tuned that,
    and attributes by its numbers.

    Raises:
        UserError: no article has a vector by its encoder, or the encoder that it tuned is not there or
            another.
    """
    vectors, texts = prepared.vectors, prepared.texts if saved.tuned is not None else None
    if saved.encoder_id is not None and (vectors is None or saved.encoder_id != prepared.encoder_id):
        vectors, texts = (
            stage_vectors(
                prepared.staged, lake.spark, lake.read("article_embeddings"), encoder_id=saved.encoder_id
            ),
            None,
        )
    tuned = saved.tuned
    if tuned is not None and saved.encoder_id is not None and vectors is not None:
        known = texts is not None and (texts.encoder.digest, texts.encoder.max_tokens) == (
            tuned.digest,
            tuned.text_tokens,
        )
        if not known:
            layers = saved.settings.tune_layers
            encoder = tuned_encoder(
                tuned.model, saved.encoder_id, layers=layers, max_tokens=tuned.text_tokens
            )
            texts = stage_texts(prepared.staged, vectors, classed_news(lake), encoder)
    catalogue = load_catalogue(prepared.staged, vectors, texts)
    category, subcategory, entity = (
        coded_as(getattr(catalogue, name), saved.attributes[name]) for name in ATTRIBUTES
    )
    return replace(catalogue, category=category, subcategory=subcategory, entity=entity)


def paired_sums(keys: np.ndarray, found: Sequence[Floats], *, resamples: int, seed: int) -> list[Floats]:
    """For each of several models (resamples + 1, 2): the weight and the weighted sum of a metric in each
    resample of the impressions.

    The same impressions are in the same resamples for all of them (see spark_evaluate.bootstrap_sums).

    Args:
        keys: (n,) integers that tell the impressions apart.
        found: the metric of these (n,), by each model.
        resamples, seed: of the bootstrap; row 0 is all impressions, once each.
    """
    sums = resampled(keys, np.stack([np.ones(len(keys)), *found], axis=1), resamples, seed)
    return [sums[:, [0, 1 + place]] for place in range(len(found))]


def _judged(vectors: Vectors, prepared: Prepared) -> ImpressionMetrics:
    impressions = load_impressions(prepared.staged, TEST)
    return impression_metrics(scores(vectors, impressions).numpy(), impressions.labels, impressions.offsets)
