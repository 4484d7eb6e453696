"""The one place that reads settings files: YAML, shipped in conf/ or the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from newslake.errors import UserError


@dataclass(frozen=True)
class SettingsFile:
    """Settings of one environment.

    The file's top level holds `options` (for every job that has such an option), `jobs` (by job's name, for
    that job alone) and `spark` (settings of the session). The command line wins over `jobs`, `jobs` over
    `options`.
    """

    source: str = "defaults"
    common: Mapping[str, Any] = field(default_factory=dict)
    jobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    spark: Mapping[str, str] = field(default_factory=dict)
    lineage: str | None = None  # of the option --lineage, which a job hands on to those that it runs

    def options(self, job: str, known: set[str]) -> dict[str, Any]:
        """What the file sets for one job, by option name with dashes.

        Raises:
            UserError: the job's own section names an option that the job does not have.
        """
        own = {_dashed(name): value for name, value in self.jobs.get(job, {}).items()}
        if unknown := sorted(own.keys() - known):
            raise UserError(
                f"{self.source}: jobs.{job} sets {', '.join(unknown)}, which {job} does not have (see --help)"
            )
        common = {_dashed(name): value for name, value in self.common.items()}
        return {name: value for name, value in {**common, **own}.items() if name in known}


def load_settings_file(name: str | None) -> SettingsFile:
    """Read a settings file: a path, or the name of one that ships with newslake.

    Raises:
        UserError: there is no such file, or it does not look like one.
    """
    if name is None:
        return SettingsFile()
    text = own_or_shipped(name, "--config", ", ".join(shipped_settings_files()))
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"--config {name}: not valid YAML: {' '.join(str(error).split())}") from None
    return _checked(name, content)


def own_or_shipped(name: str, option: str, there: str, folder: str | None = None) -> str:
    """The text of a settings file: a path, or the name of one that ships with newslake.

    Args:
        name: what the option says.
        option: such as --config.
        there: what ships, for the message.
        folder: in conf/; None: itself.

    Raises:
        UserError: there is no such file.
    """
    conf = resources.files("newslake.conf")
    shipped = (conf if folder is None else conf / folder) / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name).read_text(encoding="utf-8")
    if "/" not in name and shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    raise UserError(f"{option} {name}: no such file, and none of that name ships with newslake ({there})")


def shipped_settings_files() -> list[str]:
    """Names of the settings files in conf/."""
    files = resources.files("newslake.conf").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def _checked(name: str, content: Any) -> SettingsFile:
    if not isinstance(content, dict) or not content.keys() <= {"options", "jobs", "spark"}:
        raise UserError(f"--config {name}: the top level takes options, jobs and spark, nothing else")
    sections = {key: content.get(key) or {} for key in ("options", "jobs", "spark")}
    wrong = [key for key, section in sections.items() if not isinstance(section, dict)]
    wrong += (
        [f"jobs.{job}" for job, own in sections["jobs"].items() if not isinstance(own, dict)]
        if not wrong
        else []
    )
    if wrong:
        raise UserError(f"--config {name}: {', '.join(wrong)} must hold `name: value` lines")
    spark = {
        str(key): str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in sections["spark"].items()
    }
    return SettingsFile(source=name, common=sections["options"], jobs=sections["jobs"], spark=spark)


def _dashed(name: str) -> str:
    return str(name).replace("_", "-")
