"""An archive of the JVM classes that a job loads, so that the next one maps them instead of reading, parsing and verifying them.

Java calls it class data sharing (JEP 350). It saves a small job about a seventh of its time, and every job's start. The archive fits one
JVM and the same jars in the same places: with any other the JVM leaves it aside without a word and starts as it would without.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_REHEARSAL = Path(__file__).parent / "pipeline" / "rehearsal.py"
_OPTIONS = "spark.driver.defaultJavaOptions"


def archive_classes(spark_home: Path, settings: str) -> str:
    """Rehearse a small job to see what it loads, and archive that.

    Args:
        spark_home: a pyspark, which gets the archive.
        settings: those of conf/spark/local.conf.

    Returns:
        The settings with which sessions use the archive; as they were where this JVM makes none.
    """
    archive = spark_home / "newslake.jsa"
    archive.unlink(missing_ok=True)
    # The jars before the folder of settings, which is on Spark's class path too: classes are archived up to the first folder.
    found = f"{settings.rstrip()}\nspark.driver.extraClassPath {spark_home}/jars/*\n"
    quiet = "-Xlog:cds=off -Xlog:cds+dynamic=off"
    with tempfile.TemporaryDirectory() as scratch:
        conf = Path(scratch) / "spark-defaults.conf"
        conf.write_text(_with_option(found, f"-XX:ArchiveClassesAtExit={archive} {quiet}"), encoding="utf-8")
        result = submit(spark_home, "--properties-file", str(conf), str(_REHEARSAL))
    if result.returncode or not archive.is_file():
        said = [line for line in f"{result.stderr}\n{result.stdout}".splitlines() if line.strip()]
        print(f"local_spark: sessions start without an archive of classes: {said[-1] if said else 'this JVM made none'}", file=sys.stderr)
        return settings
    return _with_option(found, f"-XX:SharedArchiveFile={archive} {quiet}")


def submit(spark_home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script by the spark-submit of one pyspark, in this environment's Python; stdout and stderr are captured."""
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return subprocess.run(
        [str(spark_home / "bin" / "spark-submit"), *arguments],
        env={**os.environ, "SPARK_HOME": str(spark_home), **python, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _with_option(settings: str, option: str) -> str:
    return "".join(f"{line} {option}\n" if line.startswith(_OPTIONS) else f"{line}\n" for line in settings.splitlines())
