"""Where messages come from: a Kafka topic, or a folder that JSON lines are put into. Checked before the
stream starts."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.inputs import checked, is_blank, text_lines
from newslake.files.systems import readable
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun, log
from newslake.spark.connect import refuse_connect
from newslake.streaming.seen import changed_files

_WAIT_S = 15
"""How long Kafka may take for its first answer."""
# The file source forgets, and then ignores, files much older than the newest one: by default a week.
_NO_AGE_LIMIT = "36500d"


@dataclass(frozen=True)
class Source:
    """One topic or one folder, and how much of it a micro-batch takes.

    Attributes:
        topic: the Kafka topic; None: read `files`.
        servers: host:port,host:port of some of Kafka's brokers.
        starting_offsets: earliest, latest, or JSON with an offset for each partition; counts for a new
            checkpoint only.
        client_config: a file with further properties of the Kafka client, such as security.protocol:
            passwords belong there.
        files: folder (with those in it) or glob pattern of JSON lines.
        per_batch: messages (topic) or files (folder) in a micro-batch at most.
    """

    topic: str | None
    servers: str
    starting_offsets: str
    client_config: str | None
    files: str | None
    per_batch: int

    def __post_init__(self) -> None:
        if (self.topic is None) == (self.files is None):
            raise UserError("say where the messages come from: either --topic NAME or --files FOLDER")
        if self.topic is not None and not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", self.topic):
            raise UserError(f"--topic {self.topic}: not the name of a Kafka topic")
        if self.per_batch < 1:
            raise UserError("--max-per-batch takes 1 or more")
        if self.starting_offsets not in ("earliest", "latest"):
            _check_offsets(self.starting_offsets, self.topic)

    def __str__(self) -> str:
        return f"topic {self.topic} at {self.servers}" if self.topic is not None else str(self.files)

    def checkpoint(self, lake: Lakehouse, job: str, given: str | None) -> str:
        """The folder that remembers what has been read: one for each job and source, inside the lakehouse.

        Inside, so that whoever deletes or copies the tables deletes or copies with them what is known to be
        in them.

        Raises:
            UserError: the tables are names, so that there is no folder to put it in.
        """
        if given is not None:
            return given
        if (root := lake.root or lake.work) is None:
            raise UserError(
                "--checkpoint: say which folder (of a volume, or a URI) remembers what has been read"
            )
        digest = hashlib.sha256(str(self.files).encode()).hexdigest()[:12]
        return f"{root}/_checkpoints/{job}/" + (
            f"kafka-{self.topic}" if self.topic is not None else f"files-{digest}"
        )

    def check(self, spark: SparkSession) -> None:
        """Look whether the topic or the folder is there.

        Raises:
            JobFailed: Kafka does not answer: another try may find it.
            UserError: there is no such topic or folder, the settings cannot be used, or it is a session of
                Spark Connect.
        """
        refuse_connect(spark, "a stream", "each batch in the process that started it")
        if self.topic is None:
            checked(spark, str(self.files), "--files")
        else:
            _check_topic(spark, self.topic, self.servers, self._properties())

    def tell_changed(self, spark: SparkSession, run: JobRun, checkpoint: str) -> None:
        """Name the files that changed after they were read: a stream reads each name once, so what is in them
        now is not read."""
        if self.files is None:
            return
        count, some = changed_files(spark, readable(spark, self.files), checkpoint)
        if count:
            run.fact("files that changed after they were read", count)
            log.warning(
                "%s: %s file%s changed after a stream had read a file of that name, and will not be read"
                " again: %s. Give what is to be read a new name",
                run.job,
                f"{count:,}",
                "s" if count > 1 else "",
                ", ".join(some) + (", ..." if count > len(some) else ""),
            )

    def messages(self, spark: SparkSession) -> DataFrame:
        """The stream of messages.

        Returns:
            source (file, or topic and partition), place (offset in the partition; NULL for files), raw
                (binary: the message, byte
            for byte), arrived_at (Kafka's timestamp of the message; modification time of the file).
        """
        return self._from_files(spark) if self.topic is None else self._from_kafka(spark)

    def _from_files(self, spark: SparkSession) -> DataFrame:
        place = readable(spark, str(self.files))
        options = {"maxFilesPerTrigger": str(self.per_batch), "maxFileAge": _NO_AGE_LIMIT}
        text = text_lines(spark, place, stream=True, **options).where(~is_blank(F.col("value")))
        return text.select(
            F.col("_metadata.file_path").alias("source"),
            F.lit(None).cast("bigint").alias("place"),
            F.col("value").cast("binary").alias("raw"),
            F.col("_metadata.file_modification_time").alias("arrived_at"),
        )

    def _from_kafka(self, spark: SparkSession) -> DataFrame:
        options = {f"kafka.{name}": value for name, value in self._properties().items()}
        # What a producer's aborted transaction left in the topic was never sent.
        options.setdefault("kafka.isolation.level", "read_committed")
        options |= {"kafka.bootstrap.servers": self.servers, "subscribe": str(self.topic)}
        options |= {"startingOffsets": self.starting_offsets, "maxOffsetsPerTrigger": str(self.per_batch)}
        # failOnDataLoss stays on: messages that Kafka deleted before they were read are a loss that somebody
        # must hear of.
        try:
            read = spark.readStream.format("kafka").options(**options).load()
        except AnalysisException as error:
            if "Failed to find data source" not in str(error) and "DATA_SOURCE_NOT_FOUND" not in str(error):
                raise
            raise UserError(
                "Spark's Kafka connector is missing: run the set-up (make setup), or give its jars to"
                " spark-submit"
            ) from None
        return read.select(
            F.concat(
                F.lit("kafka topic "), "topic", F.lit(", partition "), F.col("partition").cast("string")
            ).alias("source"),
            F.col("offset").alias("place"),
            F.col("value").alias("raw"),
            F.col("timestamp").alias("arrived_at"),
        )

    def _properties(self) -> dict[str, str]:
        if self.client_config is None:
            return {}
        try:
            text = Path(self.client_config).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"--kafka-config {self.client_config}: cannot be read: {error.strerror}"
            ) from None
        lines = [line.strip() for line in text.splitlines()]
        pairs = [line.partition("=") for line in lines if line and not line.startswith(("#", "!"))]
        if wrong := [name for name, equals, _ in pairs if not equals]:
            # Not the line itself: what follows may be a password.
            raise UserError(
                f"--kafka-config {self.client_config}: wants lines of name=value; {len(wrong)} have no ="
            )
        return {name.strip(): value.strip() for name, _, value in pairs}


def _check_offsets(text: str, topic: str | None) -> None:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    numbers = given.get(topic) if isinstance(given, dict) and len(given) == 1 else None
    if not isinstance(numbers, dict) or not all(
        key.isdigit() and isinstance(value, int) for key, value in numbers.items()
    ):
        raise UserError(
            f'--starting-offsets takes earliest, latest, or JSON such as {{"{topic}": {{"0": 1200, "1":'
            " -2}} (-2: earliest)"
        )


def _check_topic(spark: SparkSession, topic: str, servers: str, properties: dict[str, str]) -> None:
    jvm: Any = spark._jvm
    settings = jvm.java.util.Properties()
    limits = {"request.timeout.ms": f"{_WAIT_S * 1000}", "default.api.timeout.ms": f"{_WAIT_S * 1000}"}
    for name, value in {**limits, **properties, "bootstrap.servers": servers}.items():
        settings.setProperty(name, value)
    try:
        admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(settings)
    except Py4JJavaError as error:
        raise UserError(f"--bootstrap-servers {servers}: {_cause(error)}") from None
    # The client's classes go by other names here (Databricks shades them): the stream itself will tell.
    except (TypeError, Py4JError):
        return
    try:
        there = sorted(admin.listTopics().names().get())
    except Py4JJavaError as error:
        raise JobFailed(
            f"Kafka at {servers} does not answer ({_cause(error)}): is it up, and is --bootstrap-servers"
            " right?"
        ) from None
    finally:
        admin.close()
    if topic not in there:
        known = ", ".join(there[:10]) or "none"
        raise UserError(f"--topic {topic}: Kafka at {servers} has no such topic; it has {known}")


def _cause(error: Py4JJavaError) -> str:
    """The message of the innermost exception: those around it only say that something failed."""
    found = error.java_exception
    while found.getCause() is not None:
        found = found.getCause()
    return str(found.getMessage())
