"""Folders in object storage, on a real S3 server: what jobs do with them past Spark."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from newslake.errors import UserError
from newslake.files import remote
from newslake.files.folders import built_once
from newslake.files.remote import Place, RemotePath, filled, local, matching, modified, remove, writing
from newslake.files.storage import Storage
from newslake.training.loop.checkpoint import Progress, load_checkpoint, save_checkpoint
from tests.files.s3_server import S3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, server: S3, tmp_path: Path) -> Place:
    """An empty folder of each kind, on which the same holds."""
    if request.param == "disk":
        return tmp_path / "work"
    return RemotePath(f"s3a://lake/{tmp_path.name}", Storage(server.hadoop()))


def put(place: Place, content: bytes) -> None:
    folder: Place = place.parent
    folder.mkdir(parents=True, exist_ok=True)
    with writing(place) as file:
        file.write(content)


def test_files_are_found_read_and_removed(folder: Place) -> None:
    assert not folder.exists()
    assert list(folder.glob("*/model.json")) == []
    for name in ("b", "a", "c.tmp-1"):
        put(folder / name / "model.json", name.encode())
    put(folder / "a" / "part-0.parquet", b"0123456789")
    assert [found.parent.name for found in matching(folder, "*/model.json")] == ["a", "b", "c.tmp-1"]
    assert sorted(found.name for found in folder.iterdir()) == ["a", "b", "c.tmp-1"]
    assert (folder / "b" / "model.json").read_text(encoding="utf-8") == "b"
    assert (local(folder / "a") / "part-0.parquet").read_bytes() == b"0123456789"
    assert local(folder / "b" / "model.json").read_bytes() == b"b"
    assert (
        abs((modified(folder / "a" / "model.json") - modified(folder / "b" / "model.json")).total_seconds())
        < 60
    )
    (folder / "b" / "model.json").unlink()
    (folder / "b" / "model.json").unlink(missing_ok=True)
    remove(folder / "a")
    remove(folder / "nowhere")
    assert [found.parent.name for found in folder.glob("*/model.json")] == ["c.tmp-1"]


def test_a_copy_follows_what_changes(folder: Place) -> None:
    put(folder / "part", b"first")
    assert (local(folder) / "part").read_bytes() == b"first"
    put(folder / "part", b"other, and longer")
    put(folder / "next", b"new")
    assert {file.name: file.read_bytes() for file in local(folder).iterdir()} == {
        "part": b"other, and longer",
        "next": b"new",
    }


def test_a_copy_is_fetched_once(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = RemotePath(f"s3a://lake/{tmp_path.name}", Storage(server.hadoop()))
    put(place / "part", b"content")
    copy = local(place) / "part"
    copy.write_bytes(b"CONTENT")  # as long, and as old, as what it is a copy of
    info = (place / "part")._info()
    os.utime(copy, ns=(info.mtime_ns, info.mtime_ns))
    assert (local(place) / "part").read_bytes() == b"CONTENT"


def test_executors_keep_their_copies_among_sparks_files(
    server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path / 'spark'},{tmp_path / 'second'}")
    remote._copies.cache_clear()
    try:
        place = RemotePath(f"s3a://lake/{tmp_path.name}", Storage(server.hadoop()))
        put(place / "part", b"content")
        assert local(place / "part").is_relative_to(tmp_path / "spark" / "newslake")
    finally:
        remote._copies.cache_clear()


def fill_half(final: Place) -> None:
    with filled(final, "model.json") as making:
        (making / "weights").write_bytes(b"never")
        (making / "not there").read_bytes()


def test_a_folder_of_files_is_there_as_a_whole(folder: Place) -> None:
    with filled(folder / "run", "model.json") as making:
        (making / "weights").write_bytes(b"old")
        (making / "users").write_bytes(b"only in the first")
        (making / "model.json").write_text("1")
        assert not (folder / "run" / "model.json").exists()
    with filled(folder / "run", "model.json") as making:
        (making / "weights").write_bytes(b"new")
        (making / "model.json").write_text("2")
    assert sorted(file.name for file in (folder / "run").iterdir()) == ["model.json", "weights"]
    assert (local(folder / "run") / "weights").read_bytes() == b"new"
    with pytest.raises(FileNotFoundError):
        fill_half(folder / "run")
    assert (folder / "run" / "weights").read_bytes() == b"new"


def test_what_is_staged_is_built_once(folder: Place) -> None:
    made = []

    def build(temporary: Place) -> dict[str, int]:
        made.append(temporary)
        put(temporary / "rows" / "part-0.parquet", b"rows")
        return {"rows": len(made)}

    def fails(temporary: Place) -> dict[str, int]:
        put(temporary / "rows" / "part-0.parquet", b"half")
        raise UserError("no click")

    with pytest.raises(UserError, match="no click"):
        built_once(folder / "abc", fails)
    assert not (folder / "abc" / "manifest.json").exists()
    first, sizes = built_once(folder / "abc", build)
    again, same = built_once(folder / "abc", build)
    assert (first, sizes) == (again, same) == (first, {"rows": 1})
    assert len(made) == 1
    assert (local(first / "rows") / "part-0.parquet").read_bytes() == b"rows"


def test_training_goes_on_from_a_checkpoint(folder: Place) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(folder / "run.pt", Progress(epoch=3), model, optimizer)
    other = torch.nn.Linear(2, 1)
    assert load_checkpoint(folder / "run.pt", other, torch.optim.Adam(other.parameters())).epoch == 3
    assert torch.equal(other.weight, model.weight)


def test_numpy_writes_arrays(folder: Place) -> None:
    wanted = np.arange(12, dtype=np.float32).reshape(4, 3)
    buffer = io.BytesIO()
    np.save(buffer, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / "vectors.npy") as sink:
        np.save(sink, wanted)
    assert (folder / "vectors.npy").read_bytes() == buffer.getvalue()
    assert np.array_equal(np.load(local(folder / "vectors.npy"), mmap_mode="r"), wanted)
