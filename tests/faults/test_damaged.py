"""A data file that is damaged or gone: what the user sees, and that the rerun completes once it is put
back."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from newslake.lake.lakehouse import Lakehouse
from tests.faults.common import import_texts, texts

SLOW = pytest.mark.slow


def data_file(lake: Lakehouse) -> Path:
    """The file that holds table news."""
    return Path(unquote(urlsplit(lake.files("news")[0]).path))


@pytest.mark.parametrize(
    "damage", ["overwritten", pytest.param("cut short", marks=SLOW), pytest.param("gone", marks=SLOW)]
)
def test_a_damaged_file_is_named_and_nothing_else_is_lost(
    damage: str, lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = texts(tmp_path / "first.jsonl", 50), texts(tmp_path / "second.jsonl", 60)
    import_texts(lake, first, capsys)
    file = data_file(lake)
    whole = file.read_bytes()
    checksum = file.with_name(f".{file.name}.crc")
    checksum.unlink(missing_ok=True)  # else Hadoop tells by it, and where a copy lost it, Parquet must
    match damage:
        case "overwritten":
            file.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
        case "cut short":
            file.write_bytes(whole[: len(whole) // 2])
        case _:
            file.unlink()
    status, said = import_texts(lake, second, capsys)
    assert status == 1
    [line] = said
    assert line.startswith("import_labels: failed: ")
    assert file.name in line
    assert ("is gone" in line) == (damage == "gone")
    assert "run again" in line
    file.write_bytes(whole)
    assert import_texts(lake, second, capsys) == (0, [])
    assert lake.read("news").count() == 60


@SLOW
def test_a_checksum_that_does_not_fit_is_damage_too(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = texts(tmp_path / "first.jsonl", 50), texts(tmp_path / "second.jsonl", 60)
    import_texts(lake, first, capsys)
    file = data_file(lake)
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + bytes([whole[200] ^ 0xFF]) + whole[201:])
    status, [line] = import_texts(lake, second, capsys)
    assert status == 1
    assert f"{file.name} is damaged" in line
    file.write_bytes(whole)
    assert import_texts(lake, second, capsys)[0] == 0
