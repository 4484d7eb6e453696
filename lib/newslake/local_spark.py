"""Set up pip's pyspark for newslake on one machine: Delta's jars and the settings of conf/spark/local.conf.

`python -m newslake.local_spark` puts both inside the pyspark of the active environment, so that plain `spark-submit` and
`python jobs/<job>.py` find them without a flag and without the network. A cluster or Databricks brings its own.
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


def main() -> None:
    """Fetch what is missing, say so, and exit 1 with one line where it cannot be had."""
    try:
        fetched = set_up(Path(pyspark.__file__).parent)
    except JobFailed as error:
        print(f"local_spark: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"Spark is set up ({', '.join(fetched) if fetched else 'nothing was missing'})")


def set_up(spark_home: Path) -> list[str]:
    """Complete one pyspark installation; returns the names of the jars that had to be fetched.

    Raises:
        JobFailed: a jar cannot be fetched, or is not the one that conf/spark/jars.lock names.
    """
    jars = spark_home / "jars"
    wanted = _locked_jars()
    missing = {name: entry for name, entry in wanted.items() if not _is_right(jars / name, entry[1])}
    if missing:
        _fetch(jars, missing)
    conf = spark_home / "conf"
    conf.mkdir(exist_ok=True)
    source = resources.files("newslake.conf") / "spark"
    (conf / "spark-defaults.conf").write_text((source / "local.conf").read_text(encoding="utf-8"), encoding="utf-8")
    (conf / "log4j2.properties").write_text((source / "log4j2.properties").read_text(encoding="utf-8"), encoding="utf-8")
    return sorted(missing)


def _locked_jars() -> dict[str, tuple[str, str]]:
    """File name of each jar -> its Maven coordinate and SHA-256."""
    text = (resources.files("newslake.conf") / "spark" / "jars.lock").read_text(encoding="utf-8")
    entries = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {f"{coordinate.split(':')[1]}-{coordinate.split(':')[2]}.jar": (coordinate, digest) for coordinate, digest in entries}


def _is_right(jar: Path, digest: str) -> bool:
    return jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == digest


def _fetch(jars: Path, missing: dict[str, tuple[str, str]]) -> None:
    """Let Spark's own Ivy resolve the coordinates, so that proxies and mirrors set up for Spark hold here too."""
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "nothing.py"
        script.write_text("", encoding="utf-8")
        command = [str(jars.parent / "bin" / "spark-submit"), "--master", "local[1]"]
        command += ["--packages", ",".join(coordinate for coordinate, _ in missing.values())]
        command += ["--conf", f"spark.jars.ivy={scratch}/ivy"]
        if settings := os.environ.get("NEWSLAKE_IVY_SETTINGS"):
            command += ["--conf", f"spark.jars.ivySettings={settings}"]
        # A home of its own: Ivy trips over a POM that lies in the user's Maven folder without its jar.
        environment = {
            **os.environ,
            "SPARK_HOME": str(jars.parent),
            "SPARK_SUBMIT_OPTS": f"-Duser.home={scratch}",
            "PYSPARK_PYTHON": sys.executable,
        }
        environment["PYSPARK_DRIVER_PYTHON"] = sys.executable
        result = subprocess.run([*command, str(script)], env=environment, capture_output=True, text=True, check=False)
        for name, (coordinate, digest) in missing.items():
            found = list(Path(scratch).glob(f"ivy/jars/*{name}"))
            if not found:
                reason = [line for line in result.stderr.splitlines() if "UNRESOLVED" in line or "rror" in line]
                raise JobFailed(
                    f"{coordinate} could not be fetched from Maven Central: {reason[0].strip() if reason else 'no reason given'}"
                )
            if not _is_right(found[0], digest):
                raise JobFailed(f"{coordinate} is not the jar that conf/spark/jars.lock names (SHA-256 differs)")
            shutil.copy2(found[0], jars / name)


if __name__ == "__main__":
    main()
