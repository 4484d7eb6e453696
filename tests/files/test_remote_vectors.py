"""Vectors that executors share: in one file on a disk, in parts in object storage. The same rows either
way."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from newslake.files.remote import RemotePath, local, writing
from newslake.files.storage import Storage
from newslake.ranking.vector_map import Parts, _slice, _written, opened
from newslake.search.vector_files import VectorFiles
from newslake.training.judging.spark_evaluate import write_vectors
from tests.files.s3_server import S3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


VECTORS = np.array([[3, 4], [0, 0], [0, 2], [5, 12], [1, 0]], np.float32)
"""The second has no direction: it is left out."""
WANTED = [[0.6, 0.8], [0.0, 1.0], [0.0, 0.0], [5 / 13, 12 / 13], [1.0, 0.0]]
"""By hand: the first row group's vectors close up, so that its third row stays zero."""


def table_in(place: Path | RemotePath) -> None:
    """Two row groups, of three rows and two."""
    lists = pa.array(VECTORS.tolist(), pa.list_(pa.float32()))
    with writing(place) as sink:
        pq.write_table(pa.table({"id": list("abcde"), "vector": lists}), sink, row_group_size=3)


def test_parts_in_object_storage_come_together_as_the_file_on_disk(server: S3, tmp_path: Path) -> None:
    storage = Storage(server.hadoop())
    bucket = RemotePath(f"s3a://lake/{tmp_path.name}", storage)
    table_in(bucket / "part 0.parquet")
    side = VectorFiles((f"s3a://lake/{tmp_path.name}/part%200.parquet",), "id", "vector", storage=storage)
    units = side.units()
    assert [unit.rows for unit in units] == [3, 2]
    assert side.dimension(units) == 2
    on_disk = tmp_path / "vectors.npy"
    np.lib.format.open_memmap(on_disk, mode="w+", dtype=np.float32, shape=(5, 2)).flush()
    for held in (on_disk, Parts(bucket / "parts", (5, 2))):
        ids, rows = [], []
        for start, unit in zip((0, 3), units, strict=True):
            with _slice(held, start, unit.rows, 2) as part:
                for batch in _written(part, side, unit, start, 2):
                    ids += batch.column("id").to_pylist()
                    rows += batch.column("row").to_pylist()
        assert (ids, rows) == (list("acde"), [0, 1, 3, 4])
        assert np.allclose(opened(held), WANTED)


def test_a_models_vectors_are_read_back_from_object_storage(server: S3, tmp_path: Path) -> None:
    users, articles = write_vectors(
        RemotePath(f"s3a://lake/{tmp_path.name}", Storage(server.hadoop())), VECTORS, VECTORS[:2]
    )
    assert np.array_equal(np.load(local(users), mmap_mode="r"), VECTORS)
    assert np.array_equal(np.load(local(articles), mmap_mode="r"), VECTORS[:2])
