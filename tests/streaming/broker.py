"""A real Kafka broker on this machine, without Docker: `python -m tests.streaming.broker start` and `stop`,
and for tests the class Broker.

Its jars are fetched once by Spark's own Ivy into the environment, and checked against broker_jars.lock.
"""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyspark

from newslake.spark.local_setup import fetch_jars
from tests.ports import free_port

LOCK = Path(__file__).parent / "broker_jars.lock"
HOME = Path(sys.prefix) / "kafka"
_CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
_WAIT_S = 180.0


def class_path() -> str:
    """The broker's jars, for java -cp; fetches what is missing (a minute, once).

    Raises:
        JobFailed: a jar cannot be fetched, or is another than the lock names.
    """
    folder, spark_home = HOME / "libs", Path(pyspark.__file__).parent
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as held:  # two test runs at once
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch_jars(folder, LOCK.read_text(encoding="utf-8"), LOCK.name, spark_home)
    scala = next((spark_home / "jars").glob("scala-library-*.jar"))
    return f"{folder}/*{os.pathsep}{scala}"


class Broker:
    """One broker, which is its own controller, with its data in one folder; may be stopped, killed and
    started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._controller_port = free_port()
        self._pid_file = folder / "pid"

    @property
    def servers(self) -> str:
        """What --bootstrap-servers takes."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers; formats its folder the first time.

        Raises:
            RuntimeError: it ended, or did not answer in time; shows the end of its log.
        """
        classpath = class_path()
        settings = self.folder / "kraft.properties"
        if not settings.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            settings.write_text(self._settings(), encoding="utf-8")
            quiet = ["-Dlog4j.rootLogger=WARN", "-cp", classpath, "kafka.tools.StorageTool"]
            command = [_java(), *quiet, "format", "-t", _CLUSTER_ID, "-c", str(settings)]
            subprocess.run(command, check=True, capture_output=True, timeout=_WAIT_S)
        with (self.folder / "log").open("ab") as log:
            command = [
                _java(),
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-cp",
                classpath,
                "kafka.Kafka",
                str(settings),
            ]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._pid_file.write_text(str(process.pid), encoding="utf-8")
        deadline = time.monotonic() + _WAIT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"the broker did not start: {(self.folder / 'log').read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order; nothing where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, as a machine that dies does; its files stay."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if not self._pid_file.exists():
            return
        try:
            process = psutil.Process(int(self._pid_file.read_text(encoding="utf-8")))
            if "kafka.Kafka" in process.cmdline():  # a number may be another process's by now
                process.send_signal(how)
                process.wait(timeout=_WAIT_S)
        except psutil.NoSuchProcess:
            pass
        self._pid_file.unlink()

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        try:
            return bool(
                AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
                .list_topics(timeout=5)
                .brokers
            )
        except KafkaException:
            return False

    def _settings(self) -> str:
        controller = f"127.0.0.1:{self._controller_port}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.servers},CONTROLLER://{controller}",
            "controller.listener.names": "CONTROLLER",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "auto.create.topics.enable": "false",
            "log.dirs": str(self.folder / "data"),
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    if found is None:
        raise RuntimeError("java is not on the PATH, and JAVA_HOME is not set")
    return found


def main() -> None:
    """Start or stop the broker that people try things with; its data lie in the environment and outlive
    it."""
    parser = argparse.ArgumentParser(prog="python -m tests.streaming.broker", description=main.__doc__)
    parser.add_argument("action", choices=["start", "stop", "fetch"], help="fetch only gets the jars")
    parser.add_argument("--port", type=int, default=9092)
    given = parser.parse_args()
    if given.action == "fetch":
        print(class_path())
        return
    broker = Broker(HOME / f"broker-{given.port}", given.port)
    if given.action == "stop":
        broker.stop()
        print("stopped")
        return
    if broker._answers():
        print(f"already there: {broker.servers}")
        return
    broker.start()
    print(f"Kafka answers at {broker.servers}; data and log in {broker.folder}")


if __name__ == "__main__":
    main()
