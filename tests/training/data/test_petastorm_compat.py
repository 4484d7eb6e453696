"""Petastorm beside current pyarrow and numpy: each stand-in is still needed, and nothing of pyarrow or numpy
is changed."""

import ast
import importlib.util
import subprocess
import sys
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
    assert code in petastorm_source(GONE[code]), (
        "petastorm no longer needs this: take the stand-in out of petastorm_compat.py"
    )


@pytest.mark.parametrize(
    "gone",
    [
        "import pyarrow.filesystem",
        "import pyarrow.hdfs",
        "from pyarrow.parquet import ParquetDatasetPiece",
        "from numpy import unicode_",
        "from numpy import string_",
    ],
)
def test_what_is_gone_is_still_gone_after_petastorm_is_imported(gone: str) -> None:
    code = (
        f"from newslake.training.data.petastorm_compat import Reader\ntry:\n    {gone}\nexcept ImportError:\n"
        "    print('gone')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "gone"
