"""Options of the jobs that train recommenders, each once: how a model learns, what it learns from, and where.
No torch here."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.options import option_group
from newslake.text.spec import DEFAULT_MODEL
from newslake.training.data.preparation import Inputs, models_folder, staging_folder
from newslake.training.data.texts import DEFAULT_TOKENS
from newslake.training.data.time_splits import TimeSplits, roles_of

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.settings import TrainSettings
    from newslake.training.runs import Place


@option_group
class LearningOptions:
    """How a model learns. None stands for the model's own value.

    Attributes:
        model: Which model: mf (matrix factorization), content (the article's text, category and entity; users
            by id), nrms (attention over the user's clicks) or dssm (two towers and their cosine).
        epochs: Passes over the clicks at most (default: 30; 8 for nrms and dssm).
        patience: Stop after so many epochs without a better valid AUC, the untrained model counted where it
            ranks as zero-shot does (default: 5 for content, 2 for nrms and dssm; mf never stops).
        seed: Of the first weights, the order of examples, the skips drawn and dropout.
        dim: Size of the vectors, of content, nrms and dssm without their frozen part (default: 50; 64 for
            nrms and dssm).
        batch_size: Examples per step for mf and content, an example being a user, a candidate and a label;
            clicks for nrms and dssm (default: 128).
        learning_rate: Adam's (default: 0.001; 0.003 for nrms and dssm).
        weight_decay: Adam's, added to the gradient (default: 1e-5).
        skips: Skipped candidates drawn per click, afresh each epoch.
        loss: bce (each candidate clicked or not; default of mf and content) or softmax (the click among
            itself and its skips).
        schedule: Of the learning rate: constant (default of mf and content) or cosine, falling to 0 over all
            epochs.
        warmup: Share of all steps over which the learning rate rises from 0.
        precision: bf16 takes products in bfloat16, which GPUs do faster; weights stay in fp32.
        history: Latest clicks that nrms, dssm and content read; at most max-history.
        heads: Of nrms's self-attention; divides dim.
        attributes: Whether nrms and dssm read category, subcategory and entity beside the text (default:
            yes).
        dropout: Share of inputs put to 0 while training nrms and dssm.
        temperature: That the learnt cosines of nrms and dssm are divided by.
        in_batch: Weight that dssm gives each other click of a batch, as a skip beside those shown (0: none).
        tune_layers: Last layers of the encoder that nrms and dssm train too, from the articles' texts (0: its
            vectors stay as they are). Wants a GPU.
        tune_learning_rate: Adam's, of those layers.
        processes: Processes that train together, one thread (or GPU) each.
    """

    model: str = "content"
    epochs: int | None = None
    patience: int | None = None
    seed: int = 0
    dim: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    skips: int = 4
    loss: Literal["bce", "softmax"] | None = None
    schedule: Literal["constant", "cosine"] | None = None
    warmup: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    history: int = 50
    heads: int = 4
    attributes: bool | None = None
    dropout: float | None = None
    temperature: float = 0.2
    in_batch: float = 0.0
    tune_layers: int = 0
    tune_learning_rate: float = 2e-5
    processes: int = 1

    def settings(self) -> "TrainSettings":
        """The settings of the model.

        Raises:
            UserError: there is no such model, or a value makes no sense.
        """
        from newslake.training.models.settings import settings_for

        return settings_for(**asdict(self))


@option_group
class DataOptions:
    """What models learn from and are judged by.

    Attributes:
        train_splits: Splits of impressions to train on, where they are not split by time (default: train).
        eval_splits: Splits to choose the epoch by and to report on, where they are not split by time
            (default: dev).
        impressions: File with the ids of the impressions to judge by, one a line (default: all of
            eval-splits).
        max_skips: Skips staged per click; an impression with more (none in MIND) keeps a fixed random choice
            of so many.
        max_history: Latest clicks staged of a history.
        encoder_id: Which article embeddings to use; needed only where the table holds several encoders'.
    """

    train_splits: tuple[str, ...] | None = None
    eval_splits: tuple[str, ...] | None = None
    impressions: str | None = None
    max_skips: int = 300
    max_history: int = 50
    encoder_id: str | None = None

    def inputs(
        self,
        by_time: TimeSplits,
        *,
        history: int,
        tune_layers: int = 0,
        encoder: str = DEFAULT_MODEL,
        text_tokens: int = DEFAULT_TOKENS,
    ) -> Inputs:
        """What to stage.

        Args:
            by_time: how impressions are split by time, where they are.
            history: clicks that the models read.
            tune_layers, encoder, text_tokens: of a model that tunes its encoder.

        Raises:
            UserError: fewer clicks are staged than are read, or splits are named where impressions are split
                by time.
        """
        if history > self.max_history:
            raise UserError(f"--history {history}: only --max-history {self.max_history} clicks are staged")
        roles = roles_of(by_time, self.train_splits, self.eval_splits, self.impressions)
        return Inputs(
            roles,
            self.impressions,
            self.max_skips,
            self.max_history,
            self.encoder_id,
            tune_layers,
            encoder,
            text_tokens,
        )


@option_group
class PlaceOptions:
    """Where training takes place.

    Attributes:
        staging: Folder for staged examples: object storage, or a disk that driver and executors see at the
            same path (default: _staging in the work folder).
        model_folder: Folder for trained models (default: _models in the work folder).
        device: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.
        threads: Threads for training on the CPU.
    """

    staging: str | None = None
    model_folder: str | None = None
    device: str = "auto"
    threads: int = 1

    def place(self, lake: Lakehouse) -> "Place":
        """The folders and the device.

        Raises:
            UserError: there is no such device, or nothing says where folders are.
        """
        from newslake.training.loop.trainer import torch_device
        from newslake.training.runs import Place

        if self.threads < 1:
            raise UserError("--threads must be at least 1")
        torch_device(self.device)
        models = models_folder(lake, self.model_folder, self.staging)
        return Place(staging_folder(lake, self.staging), models, self.device, self.threads)


LEARNING, DATA, PLACE = LearningOptions(), DataOptions(), PlaceOptions()
"""What a job takes where nothing is given."""
