"""The job train_recommender: stages the tables' examples, trains a model on them, and writes its vectors and metrics."""

from typing import Literal

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.text.spec import DEFAULT_MODEL
from newslake.training.data.preparation import Inputs, models_folder, prepare, staging_folder
from newslake.training.data.texts import DEFAULT_TOKENS
from newslake.training.data.time_splits import NOT_BY_TIME, TimeSplits, roles_of
from newslake.training.judging.promotion import BY_DEFAULT, Promotion, decide_on


def train_recommender(
    lake: Lakehouse,
    run: JobRun,
    *,
    model: str = "content",
    epochs: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    dim: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    skips: int = 4,
    loss: Literal["bce", "softmax"] | None = None,
    schedule: Literal["constant", "cosine"] | None = None,
    warmup: float = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
    history: int = 50,
    heads: int = 4,
    attributes: bool | None = None,
    dropout: float | None = None,
    temperature: float = 0.2,
    in_batch: float = 0.0,
    tune_layers: int = 0,
    tune_learning_rate: float = 2e-5,
    encoder: str = DEFAULT_MODEL,
    text_tokens: int = DEFAULT_TOKENS,
    train_splits: tuple[str, ...] | None = None,
    eval_splits: tuple[str, ...] | None = None,
    impressions: str | None = None,
    by_time: TimeSplits = NOT_BY_TIME,
    max_skips: int = 300,
    max_history: int = 50,
    encoder_id: str | None = None,
    staging: str | None = None,
    model_folder: str | None = None,
    device: str = "auto",
    threads: int = 1,
    processes: int = 1,
    promotion: Promotion = BY_DEFAULT,
    force: bool = False,
) -> None:
    """Train a recommender on clicks, choose its epoch on other impressions (valid), report on later ones (test), and keep its vectors.

    Which impressions are which is decided by time, counted back from --as-of, or else by split: train and dev, and no test. Where an
    impression came without a history, as from a stream, the history is what the user had clicked before it.

    Reads impressions, click_history, clicks, news and, for all models but mf, article_embeddings. Writes user_embeddings,
    news_embeddings (the best epoch's vectors), model_metrics (every epoch, 0 being the untrained model; of test the one that was kept) and
    the model itself (a folder). The same data, settings and seed are the same run: where its results are there already, nothing is done;
    a killed run goes on after its last epoch.

    Where there is a test, nrms and dssm are compared there with the recommender in use (zero-shot where there is none), by AUC on the same
    impressions. The new one comes into use where its AUC is at most --tolerance lower, with 97.5 % certainty by a paired bootstrap; table
    promotions has both figures. encode_users and export_vectors take what is in use.

    Args:
        model: Which model: mf (matrix factorization), content (the article's text, category and entity; users by id), nrms
            (attention over the user's clicks) or dssm (two towers and their cosine).
        epochs: Passes over the clicks at most (default: 30; 8 for nrms and dssm).
        patience: Stop after so many epochs without a better valid AUC, the untrained model counted where it ranks as zero-shot does
            (default: 5 for content, 2 for nrms and dssm; mf never stops).
        seed: Of the first weights, the order of examples, the skips drawn and dropout.
        dim: Size of the vectors, of content, nrms and dssm without their frozen part (default: 50; 64 for nrms and dssm).
        batch_size: Examples per step for mf and content, an example being a user, a candidate and a label; clicks for nrms and dssm
            (default: 128).
        learning_rate: Adam's (default: 0.001; 0.003 for nrms and dssm).
        weight_decay: Adam's, added to the gradient (default: 1e-5).
        skips: Skipped candidates drawn per click, afresh each epoch.
        loss: bce (each candidate clicked or not; default of mf and content) or softmax (the click among itself and its skips).
        schedule: Of the learning rate: constant (default of mf and content) or cosine, falling to 0 over all epochs.
        warmup: Share of all steps over which the learning rate rises from 0.
        precision: bf16 takes products in bfloat16, which GPUs do faster; weights stay in fp32.
        history: Latest clicks that nrms, dssm and content read; at most max-history.
        heads: Of nrms's self-attention; divides dim.
        attributes: Whether nrms and dssm read category, subcategory and entity beside the text (default: yes).
        dropout: Share of inputs put to 0 while training nrms and dssm.
        temperature: That dssm's cosines are divided by.
        in_batch: Weight that dssm gives each other click of a batch, as a skip beside those shown (0: none).
        tune_layers: Last layers of the encoder that nrms and dssm train too, from the articles' texts (0: its vectors stay as they
            are). Wants a GPU.
        tune_learning_rate: Adam's, of those layers.
        encoder: The encoder whose layers are tuned, as encode_articles takes it; it made the article embeddings.
        text_tokens: Tokens of an article that the tuned encoder reads, special tokens counted.
        train_splits: Splits of impressions to train on, where they are not split by time (default: train).
        eval_splits: Splits to choose the epoch by and to report on, where they are not split by time (default: dev).
        impressions: File with the ids of the impressions to judge by, one a line (default: all of eval-splits).
        max_skips: Skips staged per click; an impression with more (none in MIND) keeps a fixed random choice of so many.
        max_history: Latest clicks staged of a history.
        encoder_id: Which article embeddings to use; needed only where the table holds several encoders'.
        staging: Folder for staged examples: object storage, or a disk that driver and executors see at the same path (default: _staging
            in the work folder).
        model_folder: Folder for trained models (default: _models in the work folder).
        device: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.
        threads: Threads for training on the CPU.
        processes: Processes that train together, one thread (or GPU) each.
        force: Train again even where the results are there.
    """
    # torch takes seconds to import: --help does without.
    from newslake.training.loop.trainer import torch_device
    from newslake.training.models import model_class
    from newslake.training.models.settings import settings_for
    from newslake.training.runs import Place, trained_run

    settings = settings_for(
        model,
        epochs=epochs,
        patience=patience,
        seed=seed,
        dim=dim,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        skips=skips,
        loss=loss,
        schedule=schedule,
        warmup=warmup,
        precision=precision,
        history=history,
        heads=heads,
        attributes=attributes,
        dropout=dropout,
        temperature=temperature,
        in_batch=in_batch,
        tune_layers=tune_layers,
        tune_learning_rate=tune_learning_rate,
        processes=processes,
    )
    if threads < 1:
        raise UserError("--max-skips, --max-history and --threads must be at least 1")
    if history > max_history:
        raise UserError(f"--history {history}: only --max-history {max_history} clicks are staged")
    torch_device(device)
    roles = roles_of(by_time, train_splits, eval_splits, impressions)
    place = Place(staging_folder(lake, staging), models_folder(lake, model_folder, staging), device, threads)
    inputs = Inputs(roles, impressions, max_skips, max_history, encoder_id, tune_layers, encoder, text_tokens)
    prepared = prepare(lake, run, place.staging, inputs, with_vectors=model_class(model).needs_vectors)
    run_id = trained_run(lake, run, prepared, settings, place, force=force)
    run.fact("training run", run_id)
    decide_on(lake, run, prepared, run_id, place, promotion, again=force)
