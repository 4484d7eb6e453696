"""Set up pip's pyspark for newslake on one machine: jars of Delta and Kafka, settings of
conf/spark/local.conf.

`python -m newslake.spark.local_setup` puts them inside the pyspark of the active environment, so that plain
`spark-submit` and `python jobs/<job>.py` find them without a flag and without the network. A cluster or
Databricks brings its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import pyspark

from newslake.errors import JobFailed

_OURS = (
    "delta-spark_",
    "delta-storage-",
    "spark-sql-kafka-",
    "spark-token-provider-kafka-",
    "kafka-clients-",
)
"""How the jars begin that pip's pyspark never has."""


def main() -> None:
    """Fetch what is missing, say so, and exit 1 with one line where it cannot be had."""
    try:
        fetched = set_up(Path(pyspark.__file__).parent)
    except JobFailed as error:
        print(f"local_setup: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"Spark is set up ({', '.join(fetched) if fetched else 'nothing was missing'})")


def set_up(spark_home: Path) -> list[str]:
    """Complete one pyspark installation; returns the names of the jars that had to be fetched.

    Raises:
        JobFailed: a jar cannot be fetched, or is not the one that the lock in conf/spark names.
    """
    source = resources.files("newslake.conf") / "spark"
    lock = "jars-4.0.lock" if pyspark.__version__.startswith("4.0.") else "jars.lock"
    wanted = (source / lock).read_text(encoding="utf-8")
    fetched = fetch_jars(spark_home / "jars", wanted, f"conf/spark/{lock}", spark_home)
    # What an older lock put there: pip takes only its own jars away when pyspark moves on, and two Deltas
    # would be on Spark's path.
    names = _locked_jars(wanted)
    for jar in (spark_home / "jars").glob("*.jar"):
        if jar.name.startswith(_OURS) and jar.name not in names:
            jar.unlink()
    conf = spark_home / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "log4j2.properties").write_text(
        (source / "log4j2.properties").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (conf / "spark-defaults.conf").write_text(
        (source / "local.conf").read_text(encoding="utf-8"), encoding="utf-8"
    )
    return fetched


def fetch_jars(folder: Path, lock: str, lock_name: str, spark_home: Path) -> list[str]:
    """Complete a folder of jars; returns the names of those that had to be fetched.

    Args:
        folder: takes the jars; what it holds already and is right is left alone.
        lock: a line for each jar, its Maven coordinate and its SHA-256; lines that begin with # are comments.
        lock_name: what to call the lock where something is wrong.
        spark_home: a pyspark, whose own Ivy fetches, so that proxies and mirrors set up for Spark hold here
            too.

    Raises:
        JobFailed: a jar cannot be fetched, or is not the one that the lock names.
    """
    wanted = _locked_jars(lock)
    missing = {name: entry for name, entry in wanted.items() if not _is_right(folder / name, entry[1])}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(folder, missing, lock_name, spark_home)
    return sorted(missing)


def _locked_jars(lock: str) -> dict[str, tuple[str, str]]:
    """File name of each jar -> its Maven coordinate and SHA-256."""
    entries = (line.split() for line in lock.splitlines() if line.strip() and not line.startswith("#"))
    return {
        f"{coordinate.split(':')[1]}-{coordinate.split(':')[2]}.jar": (coordinate, digest)
        for coordinate, digest in entries
    }


def _is_right(jar: Path, digest: str) -> bool:
    return jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == digest


# What runs in spark-submit, without a session. `--packages` would take what a jar depends on too, and some of
# that is not to be had in the version that its POM names.
_RESOLVE = """
import sys
from pyspark.java_gateway import launch_gateway
jvm = launch_gateway().jvm
for coordinate in sys.argv[1:]:
    try:
        jvm.org.apache.spark.util.DependencyUtils.resolveMavenDependencies(jvm.java.net.URI(f"ivy://{coordinate}?transitive=false"))
    except Exception as error:
        print("REASON", coordinate, " ".join(str(error).splitlines()[1:2]), flush=True)
"""


def _fetch(folder: Path, missing: dict[str, tuple[str, str]], lock_name: str, spark_home: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "resolve.py"
        script.write_text(_RESOLVE, encoding="utf-8")
        arguments = ["--master", "local[1]", "--conf", f"spark.jars.ivy={scratch}/ivy"]
        if settings := os.environ.get("NEWSLAKE_IVY_SETTINGS"):
            arguments += ["--conf", f"spark.jars.ivySettings={settings}"]
        # A home of its own: Ivy trips over a POM that lies in the user's Maven folder without its jar.
        coordinates = (coordinate for coordinate, _ in missing.values())
        result = _submit(
            spark_home, *arguments, str(script), *coordinates, SPARK_SUBMIT_OPTS=f"-Duser.home={scratch}"
        )
        said = [
            line.removeprefix("REASON ") for line in result.stdout.splitlines() if line.startswith("REASON ")
        ]
        said += [
            line.strip() for line in result.stderr.splitlines() if "ERROR" in line or "Exception" in line
        ]
        for name, (coordinate, digest) in missing.items():
            # The name that Ivy gives it: its group before ours.
            found = Path(scratch) / "ivy" / "jars" / f"{coordinate.split(':')[0]}_{name}"
            if not found.is_file():
                raise JobFailed(
                    f"{coordinate} could not be fetched from Maven Central:"
                    f" {said[0] if said else 'no reason given'}"
                )
            if not _is_right(found, digest):
                raise JobFailed(f"{coordinate} is not the jar that {lock_name} names (SHA-256 differs)")
            shutil.copy2(found, folder / name)


def _submit(spark_home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script by the spark-submit of one pyspark, in this environment's Python; stdout and stderr are
    captured."""
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return subprocess.run(
        [str(spark_home / "bin" / "spark-submit"), *arguments],
        env={**os.environ, "SPARK_HOME": str(spark_home), **python, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
