"""The options of every stream: where its messages come from, what remembers them, and how it runs."""

from newslake.run.jobrun import JobRun
from newslake.run.options import option_group
from newslake.streaming.running import Trigger
from newslake.streaming.source import Source
from newslake.streaming.watch import Watch


@option_group
class StreamOptions:
    """Options of every stream.

    Attributes:
        topic: Kafka topic to read.
        bootstrap_servers: HOST:PORT of some of Kafka's brokers, separated by commas.
        files: Folder (with those in it) or glob pattern of files with JSON lines, instead of a topic. Move
            files in when they are complete, under names that are new.
        once: Read what is there now, and stop; else run until stopped (SIGTERM or Ctrl-C).
        starting_offsets: Where to begin in a topic that was never read: earliest, latest, or JSON with an
            offset for each partition.
        kafka_config: File with further properties of the Kafka client, name=value a line: for TLS and
            passwords.
        checkpoint: Folder that remembers what has been read (default: _checkpoints beside the tables, one for
            each topic or folder).
        max_per_batch: Messages of a topic, or files of a folder, in a micro-batch at most (default: 1000
            articles or 20000 events of a topic, 10 files).
        every_seconds: How often to look for new messages, without --once.
        metrics_file: File for Prometheus (its textfile collector), such as
            /var/lib/node_exporter/articles.prom, written after each batch.
    """

    topic: str | None = None
    bootstrap_servers: str = "localhost:9092"
    files: str | None = None
    once: bool = False
    starting_offsets: str = "earliest"
    kafka_config: str | None = None
    checkpoint: str | None = None
    max_per_batch: int | None = None
    every_seconds: float = 10.0
    metrics_file: str | None = None

    def source(self, *, messages: int) -> Source:
        """The topic or the folder.

        Args:
            messages: of a topic in a micro-batch at most, where no option says.

        Raises:
            UserError: neither or both are given, or a value makes no sense.
        """
        per_batch = (
            self.max_per_batch
            if self.max_per_batch is not None
            else messages
            if self.topic is not None
            else 10
        )
        return Source(
            self.topic,
            self.bootstrap_servers,
            self.starting_offsets,
            self.kafka_config,
            self.files,
            per_batch,
        )

    def trigger(self) -> Trigger:
        """How often it looks.

        Raises:
            UserError: that makes no sense.
        """
        return Trigger(self.once, self.every_seconds)

    def watch(self, run: JobRun) -> Watch:
        """An eye on it.

        Raises:
            UserError: there can be no such metrics file.
        """
        return Watch(run, self.metrics_file, self.topic or self.files or "")


STREAM = StreamOptions()
"""What a stream takes where nothing is given."""
