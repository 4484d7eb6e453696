"""Setting up pip's pyspark: what an older lock left there goes, what is right stays, and nothing is fetched
again."""

from pathlib import Path

import pyspark

from newslake.spark.local_setup import set_up


def test_jars_of_an_older_lock_go(tmp_path: Path) -> None:
    there = Path(pyspark.__file__).parent / "jars"
    home = tmp_path / "jars"
    home.mkdir()
    wanted = (
        "delta-",
        "spark-sql-kafka-",
        "spark-token-provider-",
        "kafka-clients-",
        "commons-pool2-",
        "antlr4-runtime-",
        "guava-",
    )
    for jar in there.glob("*.jar"):
        if jar.name.startswith(wanted):
            (home / jar.name).symlink_to(jar)
    assert set_up(tmp_path) == []
    right = {jar.name for jar in home.glob("*.jar")}
    for old in (
        "delta-spark_2.13-3.2.0.jar",
        "delta-storage-3.2.0.jar",
        "spark-sql-kafka-0-10_2.13-3.5.1.jar",
        "kafka-clients-3.4.1.jar",
    ):
        (home / old).write_bytes(b"an older version")
    assert set_up(tmp_path) == []
    assert {jar.name for jar in home.glob("*.jar")} == right
    assert any(name.startswith("guava-") for name in right)
    assert sum(name.startswith("delta-spark_") for name in right) == 1
