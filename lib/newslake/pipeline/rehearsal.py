"""A small job, run at set-up, from which the archive of the JVM's classes is made (newslake/class_archive.py)."""

import tempfile
from pathlib import Path

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind.parse import parse_behaviors
from newslake.session import spark_session


def rehearse() -> None:
    """What most jobs do: read files and tables, join, write and merge Delta tables."""
    spark = spark_session("newslake: class archive")
    behaviors = "1\tU1\t11/11/2019 1:03:52 PM\tN1 N2\tN1-1 N2-0\n2\tU2\t11/11/2019 1:04:00 PM\t\tN1-0\nbroken\n"
    news = "".join(f"N{number}\tnews\tworld\tA title\tAn abstract\thttps://example.org\t[]\t[]\n" for number in (1, 2))
    with tempfile.TemporaryDirectory() as scratch:
        mind = Path(scratch) / "mind"
        mind.mkdir()
        for name, text in (("behaviors.tsv", behaviors), ("news.tsv", news)):
            (mind / name).write_text(text, encoding="utf-8")
        lake = Lakehouse(spark, f"{scratch}/lakehouse")
        parse_behaviors(lake, JobRun("parse_behaviors"), train=[str(mind)])
        lake.read("impressions").toArrow()
    spark.stop()


if __name__ == "__main__":
    rehearse()
