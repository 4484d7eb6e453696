"""docs/reference/settings.md: settings files, Spark's settings, the environment, and the variables of the
Databricks bundle."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import yaml

from newslake.reference.pages import NOTE, prose, table
from newslake.run.settings import shipped_settings_files

ENVIRONMENT = {
    "MILVUS_TOKEN": (
        "token of the Milvus server, such as `user:password`, where `--token` or `--milvus-token` is not"
        " given"
    ),
    "NEWSLAKE_WEBHOOK": "address that `check_lakehouse` posts breaches to, where `--webhook` is not given",
    "OPENLINEAGE_API_KEY": "bearer of the OpenLineage server that `--lineage` names",
    "GOOGLE_APPLICATION_CREDENTIALS": (
        "key file of Google storage, for what reads past Spark ([clusters](../cluster.md))"
    ),
    "CUDA_VISIBLE_DEVICES": "GPUs that encoding may take",
    "SPARK_LOCAL_DIRS": "disk of an executor that fetched files go to",
    "NEWSLAKE_IVY_SETTINGS": "Ivy settings file for `make setup`, where jars come from a mirror",
    "SPARK_REMOTE": "server of Spark Connect, such as `sc://host:15002`; `local` starts one in the process",
    "PYSPARK_PYTHON": "Python of Spark's workers; on one machine the driver's, unless it is set",
}
"""What jobs read of the environment. Those that are secrets show neither in logs nor in lists of
processes."""


def page(project: Path) -> str:
    """The whole page.

    Args:
        project: the repository, for databricks.yml, which is not in the wheel.
    """
    lines = [NOTE, "", "# Settings", "", *_FILES, "", "Shipped files:", ""]
    for name in shipped_settings_files():
        lines += [f"`--config {name}`", "", "```yaml", _shipped(f"{name}.yaml").rstrip(), "```", ""]
    lines += [
        "## Environment",
        "",
        *table(("variable", "what it is"), [(f"`{name}`", text) for name, text in ENVIRONMENT.items()]),
        "",
        "Libraries read their own: models come from the hub that HF_ENDPOINT names, with the login HF_TOKEN.",
        "",
    ]
    lines += ["## Spark on one machine", "", *_SPARK, "", *_spark_rows("local"), ""]
    lines += ["## Executors with GPUs", "", *_GPU, "", *_spark_rows("gpu"), ""]
    lines += ["## Checks", "", *_CHECKS, "", "```yaml", _shipped("checks/standard.yaml").rstrip(), "```", ""]
    lines += [
        "## Databricks",
        "",
        "Variables of `databricks.yml`, set by `--var NAME=VALUE` ([Databricks](../databricks.md)).",
        "",
    ]
    variables = yaml.safe_load((project / "databricks.yml").read_text(encoding="utf-8"))["variables"]
    rows = [
        (f"`{name}`", f"`{one['default']}`" if one["default"] != "" else "", one["description"])
        for name, one in variables.items()
    ]
    return "\n".join([*lines, *table(("variable", "default", "what it is"), rows)]) + "\n"


_FILES = (
    (
        "An option's value comes from the command line, else from the job's section of `--config FILE`, else"
        " from that file's `options`,"
    ),
    "else from its default. `--config local` names a file that ships in `conf/`. The form:",
    "",
    "```yaml",
    "options:            # for every job that has such an option",
    "  lakehouse: /data/lakehouse",
    "jobs:",
    "  encode_articles:  # for one job",
    "    max-tokens: 256",
    "spark:              # settings of the Spark session",
    "  spark.sql.shuffle.partitions: 400",
    "```",
    "",
    (
        "Nothing else may stand at the top level. A section of a job may name only options that the job has;"
        " the [jobs](jobs.md) say which."
    ),
)
_SPARK = (
    (
        "`conf/spark/local.conf`: `make setup` makes these the defaults of `spark-submit` in `.venv`. On a"
        " cluster its own settings count."
    ),
)
_GPU = (
    (
        "`conf/spark/gpu.conf`, for `spark-submit --properties-file`; the file works out how many tasks share"
        " a GPU."
    ),
)
_CHECKS = (
    (
        "What `check_lakehouse` looks at unless `--checks FILE` names another file; [operate](../operate.md)"
        " says what each kind of check"
    ),
    "measures.",
)


def _shipped(name: str) -> str:
    return (resources.files("newslake.conf") / name).read_text(encoding="utf-8")


def _spark_rows(name: str) -> list[str]:
    return table(
        ("setting", "value", "why"),
        [(f"`{key}`", f"`{value}`", prose(why)) for key, value, why in _explained(name)],
    )


def _explained(name: str) -> Iterator[tuple[str, str, str]]:
    """Each setting of conf/spark/<name>.conf with the comment above it, unless that is as long as a page."""
    why: list[str] = []
    for line in _shipped(f"spark/{name}.conf").splitlines():
        if line.startswith("#"):
            why.append(line.removeprefix("#").strip())
        elif line.strip():
            key, value = line.split(None, 1)
            yield key, value.strip(), " ".join(why) if len(why) <= _LONGEST else ""
            why = []
        else:
            why = []


_LONGEST = 3  # lines of a comment that fit a table
