"""Petastorm beside current pyarrow and numpy: each stand-in is still needed."""

import ast
import importlib.util
from pathlib import Path

import pytest

# What petastorm uses -> where it does.
GONE = {
    "from pyarrow.filesystem import LocalFileSystem": "utils.py",
    "from pyarrow.hdfs import HadoopFileSystem": "hdfs/namenode.py",
    "pq.ParquetDataset(dataset_path, filesystem=pyarrow_filesystem, validate_schema=False": "reader.py",
    "pq.ParquetDatasetPiece(": "etl/dataset_metadata.py",
    "np.unicode_": "unischema.py",
    "np.string_": "unischema.py",
}


def petastorm_source(name: str) -> str:
    found = importlib.util.find_spec("petastorm")
    assert found is not None
    assert found.origin is not None
    # Without line breaks and blanks that differ, so that a call over several lines is found.
    return ast.unparse(ast.parse((Path(found.origin).parent / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("code", GONE)
def test_petastorm_still_needs_the_stand_in(code: str) -> None:
    assert code in petastorm_source(GONE[code]), "petastorm no longer needs this: take the stand-in out of petastorm_compat.py"
