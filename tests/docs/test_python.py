"""docs/python.md: its code runs as it stands, and every job can be called from Python."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

import newslake
from newslake import jobs
from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import settings_of
from newslake.run.jobrun import JobRun
from newslake.training.data.time_splits import TimeSplits

PROJECT = Path(__file__).parent.parent.parent
[CODE] = re.findall(
    r"```python\n(.*?)```", (PROJECT / "docs" / "python.md").read_text(encoding="utf-8"), flags=re.DOTALL
)


@pytest.fixture(scope="module")
def said(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's code leaves behind, run with its paths in an empty folder."""
    names: dict[str, Any] = {}
    folder = tmp_path_factory.mktemp("notebook")
    # The session's JVM stands in the folder that it was started in, as a notebook's does.
    code = CODE.replace('"sample', f'"{folder}/sample').replace('"lakehouse"', f'"{folder}/lakehouse"')
    exec(compile(code, "docs/python.md", "exec"), names)
    return names


def test_the_code_of_the_page_runs_jobs_and_finds_neighbours(said: dict[str, Any]) -> None:
    lake, run = said["lake"], said["run"]
    assert isinstance(run, JobRun)
    assert run.rows_written["news"] == lake.read("news").count() == 400
    assert lake.read("job_runs").where("job = 'encode_articles' AND outcome = 'done'").count() == 1
    found = said["similar"].toPandas()
    vectors = {row.news_id: np.array(row.embedding) for row in lake.read("article_embeddings").collect()}
    own = vectors.pop(said["first"])
    cosines = {one: float(own @ v / np.linalg.norm(own) / np.linalg.norm(v)) for one, v in vectors.items()}
    wanted = sorted(cosines, key=lambda one: (-cosines[one], one))[:5]
    assert list(found["news_id"]) == wanted
    assert list(found["rank"]) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(found["cosine"], [cosines[one] for one in wanted], atol=1e-6)


def test_a_wrong_neighbour_or_count_is_told(said: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="article N0 has no embedding"):
        newslake.similar_articles(said["lake"], "N0")
    with pytest.raises(UserError, match="k is 0"):
        newslake.similar_articles(said["lake"], said["first"], k=0)


def test_every_job_has_a_function() -> None:
    assert sorted(jobs.__all__) == sorted(path.stem for path in (PROJECT / "jobs").glob("*.py"))
    for name in jobs.__all__:
        job = getattr(jobs, name)
        assert next(iter(inspect.signature(job).parameters)) == "lake"
        assert job.__name__ == name
        assert job.__doc__


def test_an_option_that_no_job_has_is_told_before_anything_starts(lake: Lakehouse) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        jobs.find_stories(lake, no_such_option=1)
    with pytest.raises(AttributeError, match="newslake has no job find_story"):
        _ = jobs.find_story
    assert not Path(lake.root or "").exists()


def test_options_of_a_group_are_given_by_their_own_names_as_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, lake: Lakehouse
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(jobs, "run_job", lambda job, lake, options: given.append(options))
    options = {"model": "mf", "as_of": "2019-11-16", "promote": False}
    jobs.train_recommender(lake, **options)
    jobs.train_recommender(lake, by_time=TimeSplits(as_of="2019-11-16"))
    assert given == [options, {"by_time": TimeSplits(as_of="2019-11-16")}]
    for name in jobs.__all__:
        known = settings_of(jobs.function_of(name), {}).keys()
        assert inspect.signature(getattr(jobs, name)).parameters.keys() - {"lake"} == known


@pytest.mark.parametrize("name", newslake.__all__)
def test_what_the_package_offers_is_there(name: str) -> None:
    assert getattr(newslake, name) is not None
