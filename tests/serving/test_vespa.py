"""The files of export_vectors: read by Vespa's own parser, and as the tutorial's scripts read them."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.feeds.files import new_folder
from newslake.serving.job import export_vectors
from newslake.spark.frames import frame_of
from tests.calling import call
from tests.serving.rows import trained
from tests.serving.vespa_parser import Refused, VespaParser
from tests.tables import put

SIZE = 7
USERS, NEWS = 40, 60
RANDOM = np.random.default_rng(5)
USER_VECTORS = {f"U{n}": RANDOM.normal(size=SIZE).astype(np.float32) for n in range(USERS)}
# Lengths from tiny to large, one of zero, and ids with what JSON and Vespa could stumble over.
NEWS_VECTORS = {
    f"N{n}": (RANDOM.normal(size=SIZE) * 10.0 ** (n % 5 - 3)).astype(np.float32) for n in range(NEWS)
}
NEWS_VECTORS |= {"N zero": np.zeros(SIZE, np.float32), 'N"quoted"/ü:😀': np.full(SIZE, 1e-7, np.float32)}
OUT = "mf-r1"


def as_list(vectors: dict[str, np.ndarray]) -> list[tuple[str, list[float]]]:
    """What tests.serving.rows.trained takes."""
    return [(key, vector.tolist()) for key, vector in vectors.items()]


@pytest.fixture(scope="module")
def exported(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JobRun]:
    """The folder of one export of everything, and its run."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("vespa") / "lakehouse"))
    trained(lake, "user_embeddings", "user_id", as_list(USER_VECTORS))
    trained(lake, "news_embeddings", "news_id", as_list(NEWS_VECTORS))
    run = JobRun("export_vectors")
    call(export_vectors, lake, run, to=("vespa", "tsv"), feed=("lines", "array"))
    return Path(str(lake.root)) / "_feeds" / OUT, run


@pytest.fixture(scope="module")
def parser() -> Iterator[VespaParser]:
    """Vespa's parser."""
    with VespaParser() as started:
        yield started


def operations(path: Path) -> list[dict]:
    """What a feed of lines holds."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_vespa_takes_every_operation(exported: tuple[Path, JobRun], parser: VespaParser) -> None:
    folder, _ = exported
    for name, count in (("vespa_user_embeddings", USERS), ("vespa_news_embeddings", NEWS + 2)):
        lines, array = folder / f"{name}.jsonl", folder / f"{name}.json"
        assert parser.feed(lines.read_bytes()) == count
        assert parser.feed(array.read_bytes()) == count
        assert json.loads(array.read_text(encoding="utf-8")) == operations(lines)
    of_users = {
        parser.one(line)
        for line in (folder / "vespa_user_embeddings.jsonl").read_text(encoding="utf-8").splitlines()
    }
    assert of_users == {("user", "user", user_id) for user_id in USER_VECTORS}
    of_news = {
        parser.one(line)
        for line in (folder / "vespa_news_embeddings.jsonl").read_text(encoding="utf-8").splitlines()
    }
    assert of_news == {("news", "news", news_id) for news_id in NEWS_VECTORS}
    with pytest.raises(Refused, match="Document ID must be on the form"):
        parser.feed(b'{"put": "id:user:U1", "fields": {}}')
    with pytest.raises(Refused, match="NaN"):
        parser.feed(b'{"put": "id:user:user::U1", "fields": {"embedding": {"values": [NaN]}}}')


def test_distance_in_the_feed_ranks_as_the_inner_product(exported: tuple[Path, JobRun]) -> None:
    folder, _ = exported
    users = operations(folder / "vespa_user_embeddings.jsonl")
    news = operations(folder / "vespa_news_embeddings.jsonl")
    assert all(op["fields"]["user_id"] == op["put"].removeprefix("id:user:user::") for op in users)
    user_matrix = np.array([op["fields"]["embedding"]["values"] for op in users])
    news_matrix = np.array([op["fields"]["embedding"]["assign"]["values"] for op in news])
    assert user_matrix.shape == (USERS, SIZE + 1)
    assert news_matrix.shape == (NEWS + 2, SIZE + 1)
    lengths = np.linalg.norm(news_matrix, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6)  # on one sphere
    true_users = np.array([USER_VECTORS[op["fields"]["user_id"]] for op in users], np.float64)
    true_news = np.array(
        [NEWS_VECTORS[op["update"].removeprefix("id:news:news::")] for op in news], np.float64
    )
    products = true_users @ true_news.T
    squares = (user_matrix**2).sum(1)[:, None] + (lengths**2)[None, :] - 2 * user_matrix @ news_matrix.T
    best = np.argsort(-products, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(np.argsort(squares, axis=1, kind="stable")[:, :20], best)
    # Without the added dimension it would not: the longest article is not the nearest.
    plain = ((true_users[:, None] - true_news[None]) ** 2).sum(2)
    assert (np.argsort(plain, axis=1)[:, :20] != best).any()


def test_the_application_has_tensors_of_that_size(exported: tuple[Path, JobRun]) -> None:
    folder, _ = exported
    schemas = {
        path.name: path.read_text(encoding="utf-8")
        for path in (folder / "application" / "schemas").iterdir()
        if path.suffix == ".sd"
    }
    assert schemas.keys() == {"news.sd", "user.sd"}
    tensor = f"tensor<float>(d0[{SIZE + 1}])"
    assert re.search(
        rf"field embedding type {re.escape(tensor)} {{[^}}]*distance-metric: euclidean", schemas["news.sd"]
    )
    assert f"query(user_embedding) {tensor}" in schemas["news.sd"]
    assert f"field embedding type {tensor}" in schemas["user.sd"]
    assert "field user_id type string" in schemas["user.sd"]
    services = (folder / "application" / "services.xml").read_text(encoding="utf-8")
    assert re.findall(r'<document type="(\w+)"', services) == ["news", "user"]


def test_the_tutorials_scripts_read_the_tsv(exported: tuple[Path, JobRun]) -> None:
    folder, run = exported
    for name, vectors in (("user_embeddings.tsv", USER_VECTORS), ("news_embeddings.tsv", NEWS_VECTORS)):
        lines = [line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        read = {key: np.array(numbers.split(","), dtype=np.float32) for key, numbers in lines}
        assert read.keys() == vectors.keys()
        assert all((read[key] == vectors[key]).all() for key in vectors)
    assert run.facts["files"] == str(folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == [OUT]


def test_a_feed_in_several_files_holds_the_same_operations(
    exported: tuple[Path, JobRun], lake: Lakehouse, parser: VespaParser
) -> None:
    trained(lake, "user_embeddings", "user_id", as_list(USER_VECTORS))
    trained(lake, "news_embeddings", "news_id", as_list(NEWS_VECTORS))
    options = {"to": ("vespa",), "feed": ("array",), "files": 3, "out": f"{lake.root}/elsewhere"}
    call(export_vectors, lake, JobRun("test"), **options)
    folder = Path(f"{lake.root}/elsewhere") / OUT
    parts = sorted(folder.glob("vespa_user_embeddings-*.json"))
    assert [path.name for path in parts] == [f"vespa_user_embeddings-{n:05}.json" for n in range(3)]
    assert [parser.feed(path.read_bytes()) for path in parts] == [
        len(json.loads(path.read_text())) for path in parts
    ]
    together = [op for path in parts for op in json.loads(path.read_text(encoding="utf-8"))]
    whole = operations(exported[0] / "vespa_user_embeddings.jsonl")
    assert sorted(together, key=str) == sorted(whole, key=str)
    # Again: the same bytes in the same place.
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    call(export_vectors, lake, JobRun("test"), **options)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (("N1", [1.0]), "vectors of 1 and of 7 entries are mixed"),
        (("N1", [float("nan")] * SIZE), "1 vectors hold an entry that is not a finite number"),
        (("N\t1", [1.0] * SIZE), "1 ids are empty or hold a tab"),
    ],
)
def test_nothing_is_written_from_vectors_that_vespa_would_take_and_get_wrong(
    lake: Lakehouse, broken: tuple[str, list[float]], says: str
) -> None:
    trained(lake, "user_embeddings", "user_id", as_list(USER_VECTORS)[:2])
    trained(
        lake,
        "news_embeddings",
        "news_id",
        [*as_list(NEWS_VECTORS)[:2], broken] if broken[0] != "N1" else [as_list(NEWS_VECTORS)[0], broken],
    )
    with pytest.raises(JobFailed, match=says):
        call(export_vectors, lake, JobRun("test"), to=("vespa",))
    assert not (Path(str(lake.root)) / "_feeds").exists()


def test_a_folder_is_there_as_a_whole_or_as_it_was(lake: Lakehouse, tmp_path: Path) -> None:
    lines = frame_of(lake.spark, [("2", "b"), ("1", "a")], "id string, value string")
    for failing in (True, False, True):
        try:
            with new_folder(lake.spark, f"{tmp_path}/feeds/run") as folder:
                folder.write_lines(lines, f"{failing}.txt")
                if failing:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        found = {path.name: path.read_text() for path in tmp_path.rglob("*.txt")}
        assert found == (
            {} if failing and not (tmp_path / "feeds" / "run").exists() else {"False.txt": "a\nb\n"}
        )
    assert [path.name for path in (tmp_path / "feeds").iterdir()] == ["run"]


def test_the_latest_run_of_the_model_is_meant(lake: Lakehouse) -> None:
    for run_id in ("a", "../b"):
        for table, key in (("user_embeddings", "user_id"), ("news_embeddings", "news_id")):
            trained(lake, table, key, [("X1", [1.0, 2.0])], model="content", run_id=run_id)
    with pytest.raises(UserError, match=r"choose with --run-id \.\./b or a"):
        call(export_vectors, lake, JobRun("test"), to=("tsv",), model="content")
    metric = {
        "model": "content",
        "epoch": 1,
        "split": "valid",
        "best": True,
        "impressions": 1,
        "impressions_left_out": 0,
    }
    at = [
        {**metric, "run_id": run_id, "trained_at": datetime(2019, 11, day)}
        for day, run_id in ((15, "../b"), (14, "a"))
    ]
    put(lake, "model_metrics", [*at, {**metric, "run_id": "of an older release"}])
    run = JobRun("test")
    call(export_vectors, lake, run, to=("tsv",), model="content")
    # A name out of a table leads nowhere else.
    assert (
        run.facts["files"] == f"{lake.root}/_feeds/content-__b"
        or run.facts["files"] == f"{lake.root}/_feeds/content-.._b"
    )
    assert [path.name for path in (Path(str(lake.root)) / "_feeds").iterdir()] == [
        Path(run.facts["files"]).name
    ]
    with pytest.raises(UserError, match="--model mf: news_embeddings has no such vectors; it has content"):
        call(export_vectors, lake, JobRun("test"), to=("tsv",), model="mf")
