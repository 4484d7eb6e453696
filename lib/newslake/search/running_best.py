"""Which items of a block may be among a query's k best, and the k best so far, each a number that sorts as
(score, id) does."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newslake.search.unit_rows import Floats

Keys = npt.NDArray[np.int64]

NONE = np.iinfo(np.int64).min  # the key of an empty place


def candidates(
    scores: Tensor, width: int, floor: Floats, errors: Floats, k: int, rows_in_block: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Query rows (ascending) and columns of all pairs whose exact score may reach the k-th best.

    Column c is in group c modulo the number of groups: so a group's maximum is taken over rows of contiguous
    numbers.
    """
    queries, columns = scores.shape
    groups = columns // width
    grouped = scores.view(queries, width, groups)
    highest = (grouped.amax(1) if width > 1 else grouped[:, 0]).float()
    reach = torch.from_numpy(floor - errors).to(scores.device)
    if groups >= k and rows_in_block >= k and not np.isfinite(floor).all():
        # k groups hold an item each that reaches the k-th highest maximum: so does the k-th best score, less
        # the error.
        kth = torch.topk(highest, k, dim=1, sorted=True).values[:, -1]
        if scores.dtype == torch.bfloat16:
            kth = kth - kth.abs() * 2.0**-8  # before it was rounded to bfloat16
        reach = torch.maximum(reach, kth - 2.0 * torch.from_numpy(errors).to(scores.device))
    # Scores were rounded to their type, which keeps their order: so the bound is rounded alike. One float32
    # step down covers its own sums.
    reach = torch.nextafter(reach, torch.tensor(-torch.inf, device=scores.device)).to(scores.dtype).float()
    hit_row, hit_group = (highest >= reach[:, None]).nonzero(as_tuple=True)
    if width == 1:
        row, column = hit_row, hit_group
    else:
        members = grouped[hit_row, :, hit_group].float()
        hit, place = (members >= reach[hit_row, None]).nonzero(as_tuple=True)
        row, column = hit_row[hit], place * groups + hit_group[hit]
    inside = column < rows_in_block  # where nothing bounds the scores, what was padded passes too
    return row[inside].cpu().numpy(), column[inside].cpu().numpy()


def merged(best: Keys, rows: npt.NDArray[np.int64], keys: Keys) -> tuple[npt.NDArray[np.int64], Keys]:
    """The queries that have new keys, and the k largest of their old and new ones: (t,), (t, k). rows
    ascend."""
    touched, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    k = best.shape[1]
    table = np.full((len(touched), k + int(counts.max())), NONE, np.int64)
    table[:, :k] = best[touched]
    owner = np.repeat(np.arange(len(touched)), counts)
    table[owner, k + np.arange(len(rows)) - np.repeat(starts, counts)] = keys
    return touched, torch.topk(torch.from_numpy(table), k, dim=1, sorted=False).values.numpy()


def keys_of(scores: Floats, rows: npt.NDArray[np.int64]) -> Keys:
    """One number per (score, row): the larger, the higher the score, and where scores are equal the lower the
    row."""
    bits = scores.view(np.int32)
    ordered = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
    return (ordered << 32) | (np.int64(0xFFFFFFFF) - rows)


def scores_of(keys: Keys) -> Floats:
    ordered = (keys >> 32).astype(np.int32)
    scores = np.ascontiguousarray(ordered ^ ((ordered >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)
    return np.where(keys == NONE, np.float32(-np.inf), scores)


def rows_of(keys: Keys) -> npt.NDArray[np.int64]:
    return np.int64(0xFFFFFFFF) - (keys & np.int64(0xFFFFFFFF))
