"""Training by several processes with Spark's TorchDistributor: gloo on CPUs, NCCL on GPUs."""

import os

import torch
import torch.distributed as dist
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.training.data.loading import load_training_data
from newslake.training.data.staging import Staged
from newslake.training.data.texts import StagedTexts
from newslake.training.loop.processes import Together
from newslake.training.loop.trainer import train
from newslake.training.models.settings import TrainSettings


def train_together(
    spark: SparkSession,
    staged: Staged,
    vectors: Staged | None,
    settings: TrainSettings,
    *,
    device: str,
    checkpoint: Place,
    texts: StagedTexts | None = None,
) -> None:
    """Train in `settings.processes` processes, until the checkpoint says that training is finished.

    On a local master all run on this machine; else each is a Spark task, and the folders lie where all
    executors see them, or in object storage. A process reads the row groups that are its own; see
    processes.Together for how uneven parts end.

    Args:
        spark: the session.
        staged, vectors, texts: as `data.load_training_data` takes them.
        settings: `batch_size` is shared by the processes.
        device: auto, cpu or cuda; with GPUs each process takes one.
        checkpoint: written by the first process after each epoch.

    Raises:
        UserError: a device by number, which processes cannot share.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: several processes take auto, cpu or cuda")
    gpus = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    local = (spark.sparkContext.master or "").startswith("local")
    distributor = TorchDistributor(num_processes=settings.processes, local_mode=local, use_gpu=gpus)
    distributor.run(train_one, staged, vectors, settings, gpus, checkpoint, texts)


def train_one(
    staged: Staged,
    vectors: Staged | None,
    settings: TrainSettings,
    gpus: bool,
    checkpoint: Place,
    texts: StagedTexts | None = None,
) -> None:
    """What each process does."""
    device = torch.device(
        f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}" if gpus else "cpu"
    )
    dist.init_process_group("nccl" if gpus else "gloo")
    try:
        data = load_training_data(staged, vectors, texts)

        def tell(text: str) -> None:
            if dist.get_rank() == 0:
                print(f"{settings.model}: {text}", flush=True)

        train(
            data,
            settings,
            device=str(device),
            threads=1,
            progress=tell,
            checkpoint=checkpoint,
            group=Together(device),
        )
        dist.barrier()  # none closes its connections while another still reads the last message
    finally:
        dist.destroy_process_group()
