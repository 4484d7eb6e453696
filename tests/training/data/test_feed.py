"""The feed: every click once per epoch, in an order that seed and epoch decide, each with skips of its
own."""

import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from newslake.errors import JobFailed
from newslake.training.data import feed as feed_module
from newslake.training.data.feed import ClickFeed
from tests.training.frames import write_clicks

CPU = torch.device("cpu")
CLICKS, WIDTH = 150, 6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_clicks(tmp_path_factory.mktemp("clicks"), CLICKS, width=WIDTH)


def make_feed(files: list[str], **changed: Any) -> ClickFeed:
    return ClickFeed(files, **{"seed": 3, "skips": 4, "batch_size": 32, "buffer_clicks": 40, **changed})


def epoch_of(feed: ClickFeed, epoch: int) -> list[tuple[int, int, float]]:
    """(user, article, label) of each example, in order."""
    blocks = list(feed.blocks(epoch))
    columns = [
        torch.cat([getattr(block, name) for block in blocks]).tolist()
        for name in ("users", "articles", "labels")
    ]
    return list(zip(*columns, strict=True))


def test_every_click_comes_once_with_up_to_four_distinct_skips_of_its_own(files: list[str]) -> None:
    examples = epoch_of(make_feed(files), 1)
    clicks = [(user, article) for user, article, label in examples if label == 1]
    assert sorted(clicks) == [(i, i) for i in range(CLICKS)]
    skips = [(user, article) for user, article, label in examples if label == 0]
    assert len(set(skips)) == len(skips)
    assert all(1000 * user <= article < 1000 * user + user % (WIDTH + 1) for user, article in skips)
    per_user = Counter(user for user, _ in skips)
    assert [per_user[i] for i in range(CLICKS)] == [min(4, i % (WIDTH + 1)) for i in range(CLICKS)]


def test_grouped_every_click_comes_once_with_its_history_and_its_skips(files: list[str]) -> None:
    blocks = list(make_feed(files, grouped=True).blocks(1))
    users, histories, articles, shown = (
        torch.cat([getattr(block, name) for block in blocks])
        for name in ("users", "histories", "articles", "shown")
    )
    assert sorted(users.tolist()) == list(range(CLICKS)) != users.tolist()
    assert torch.equal(articles[:, 0], users)
    assert torch.equal(histories, users + 1)
    assert shown[:, 0].all()
    assert torch.equal(shown.sum(dim=1), 1 + (users % (WIDTH + 1)).clamp(max=4))
    skips = [tuple(row[there][1:].tolist()) for row, there in zip(articles, shown, strict=True)]
    assert all(len(set(row)) == len(row) for row in skips)
    assert all(
        1000 * user <= skip < 1000 * user + WIDTH
        for user, row in zip(users.tolist(), skips, strict=True)
        for skip in row
    )
    # The very skips of the ungrouped feed: they depend on seed, epoch and click alone.
    flat = {(user, article) for user, article, label in epoch_of(make_feed(files), 1) if label == 0}
    assert {(user, skip) for user, row in zip(users.tolist(), skips, strict=True) for skip in row} == flat
    assert all(len(block) % 32 == 0 for block in blocks[:-1])


def test_the_same_seed_and_epoch_give_the_same_order(files: list[str]) -> None:
    first = epoch_of(make_feed(files), 1)
    assert epoch_of(make_feed(files), 1) == first
    assert epoch_of(make_feed(files), 2) != first
    assert epoch_of(make_feed(files, seed=4), 1) != first
    assert [user for user, _, label in first if label == 1] != sorted(
        user for user, _, label in first if label == 1
    )


@pytest.mark.parametrize(
    ("grouped", "expected"),
    [
        (False, "e1eab33f137010e4c10c4e1b7355c854a7bbadfdd792ee66b4a69db7219a74ba"),
        (True, "49754bb7bdf7b161ae06b9378fe4cd30ec232e8efcb8c33415f17cf2adbbfcd4"),
    ],
)
def test_batches_are_those_of_pyarrow_14_and_numpy_1(files: list[str], grouped: bool, expected: str) -> None:
    # Taken before Petastorm was moved to current versions of both: a saved run goes on with the batches that
    # it began with.
    names = ("users", "histories", "articles", "shown") if grouped else ("users", "articles", "labels")
    found = hashlib.sha256()
    for epoch, shard in itertools.product((1, 2), (0, 1)):
        for block in make_feed(files, grouped=grouped, shard=shard, shard_count=2).blocks(epoch):
            for name in names:
                column = getattr(block, name).numpy()
                found.update(f"{name}{column.shape}{column.dtype}".encode())
                found.update(column.tobytes())
    assert found.hexdigest() == expected


def test_skips_are_drawn_afresh_each_epoch_and_do_not_depend_on_the_batches(files: list[str]) -> None:
    def skips(feed: ClickFeed, epoch: int) -> set[tuple[int, int]]:
        return {(user, article) for user, article, label in epoch_of(feed, epoch) if label == 0}

    first = skips(make_feed(files), 1)
    assert skips(make_feed(files, batch_size=7, buffer_clicks=1000), 1) == first
    assert skips(make_feed(files), 2) != first


def test_examples_are_mixed_across_row_groups_and_clicks(files: list[str]) -> None:
    feed = make_feed(files, buffer_clicks=CLICKS)
    users = np.array([user for user, _, _ in epoch_of(feed, 1)])
    # Each user's examples lie side by side in the files; shuffled, hardly any stay neighbours.
    assert (users[1:] == users[:-1]).mean() < 0.1


def test_only_the_last_batch_of_an_epoch_is_short(files: list[str]) -> None:
    sizes = [len(batch) for block in make_feed(files).blocks(1) for batch in block.batches(32, CPU)]
    assert set(sizes[:-1]) == {32}
    assert sum(sizes) == CLICKS + sum(min(4, i % (WIDTH + 1)) for i in range(CLICKS))


def test_prefetched_epochs_are_the_epochs(files: list[str]) -> None:
    feed = make_feed(files)
    found = {}
    with feed.epochs(1, 3) as epochs:
        for epoch, blocks in epochs:
            found[epoch] = [user for block in blocks for user in block.users.tolist()]
    assert found == {epoch: [user for user, _, _ in epoch_of(make_feed(files), epoch)] for epoch in (1, 2, 3)}
    assert feed.waited > 0


def test_leaving_early_stops_the_reader(files: list[str]) -> None:
    feed = make_feed(files)
    with feed.epochs(1, 1000) as epochs:
        epoch, blocks = next(epochs)
        next(blocks)
    assert epoch == 1


@pytest.mark.parametrize("shard_count", [2, 3])
def test_shards_share_the_clicks_without_overlap(files: list[str], shard_count: int) -> None:
    shards = [make_feed(files, shard=shard, shard_count=shard_count) for shard in range(shard_count)]
    assert sum(shard.rows for shard in shards) == CLICKS
    clicks = [user for shard in shards for user, _, label in epoch_of(shard, 1) if label == 1]
    assert sorted(clicks) == list(range(CLICKS))


def test_too_many_shards_are_refused(files: list[str]) -> None:
    with pytest.raises(JobFailed, match="too few for 100 processes"):
        make_feed(files, shard=0, shard_count=100)


def test_a_lost_row_group_fails_the_epoch(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read = feed_module.read_row_groups

    def losing(*arguments: Any) -> Iterator[Any]:
        groups = read(*arguments)
        next(groups)
        yield from groups

    monkeypatch.setattr(feed_module, "read_row_groups", losing)
    with pytest.raises(JobFailed, match=r"Petastorm gave 1\d\d of 150 clicks in epoch 1"):
        list(make_feed(files).blocks(1))
    with make_feed(files).epochs(1, 1) as epochs:
        _, blocks = next(epochs)
        with pytest.raises(JobFailed, match="of 150 clicks"):
            list(blocks)


def test_no_row_is_lost_in_many_small_reads(tmp_path: Path) -> None:
    # Petastorm's own pools lose or wait for the last row group when its queue fills at the wrong moment.
    few = write_clicks(tmp_path, 6, per_group=2, files=1)
    for epoch in range(1, 1001):
        assert len([1 for _, _, label in epoch_of(make_feed(few), epoch) if label == 1]) == 6


def test_petastorm_is_silent(files: list[str]) -> None:
    program = (
        "from newslake.training.data.feed import ClickFeed\n"
        f"with ClickFeed({files!r}, seed=1, skips=4, batch_size=8).epochs(1, 2) as epochs:\n"
        "    print(sum(len(block) for _, blocks in epochs for block in blocks))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2 * len(epoch_of(make_feed(files), 1))
    assert done.stderr == ""
