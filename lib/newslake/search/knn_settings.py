"""How to search. Apart from the search, since who plans one does not load PyTorch."""

from dataclasses import asdict, dataclass, fields
from typing import Literal

from newslake.errors import UserError
from newslake.run.options import flag, option_group

Metric = Literal["cosine", "ip"]
Precision = Literal["auto", "fp32", "bf16"]
# Queries of a tile and items of a block. On an H200 these take 3 to 5 times less time than the CPU's
# (benchmarks/gpu.py).
_SIZES = {"cpu": (512, 4096), "cuda": (2048, 65536)}


@option_group
class SearchOptions:
    """What a job that searches takes: where, and how much of it at a time. Nothing here changes the result.

    Attributes:
        device: Where to search; auto takes a GPU where there is one.
        precision: Of the product that finds candidates; auto takes bf16 where the CPU or GPU multiplies it
            natively. The result is exact with each.
        chunk_rows: Articles that a task holds at a time, where they do not all fit: about 10 bytes a number
            for a moment, then 6.
        query_rows: Vectors to find neighbours of that a task holds at a time; what bounds its memory.

    Raises:
        UserError: a number of rows is below 1.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "auto"
    chunk_rows: int = 32_768
    query_rows: int = 32_768

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if isinstance(given, int) and given < 1:
                raise UserError(f"{flag(field.name)} must be at least 1, not {given}")

    def settings(self) -> "KnnSettings":
        """How to search, by cosine."""
        return KnnSettings(**asdict(self))


@dataclass(frozen=True)
class KnnSettings(SearchOptions):
    """How to search. Beside the options, only `metric` changes the result.

    Attributes:
        metric: cosine (vectors are brought to unit length first) or ip, the inner product.
        threads: query tiles searched at once, each by one thread.
        tile_rows: queries of a tile; None: what suits the device. On a CPU a tile's scores for a block should
            fit the last-level cache; on a GPU each tile and block costs some waiting, whatever its size, so
            that few and large ones are faster.
        block_rows: items of a block; None: what suits the device.
    """

    metric: Metric = "cosine"
    threads: int = 1
    tile_rows: int | None = None
    block_rows: int | None = None

    def sizes(self, device: str) -> tuple[int, int]:
        """Queries of a tile and items of a block on a device, cpu or cuda."""
        tile, block = _SIZES[device]
        return self.tile_rows or tile, self.block_rows or block


BY_DEFAULT = SearchOptions()
