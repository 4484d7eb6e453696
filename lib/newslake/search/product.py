"""Inner products of a query tile with an item block, fast and a little wrong, with a bound on how wrong.

The search needs the product only to find out which items may be among the k best: these few are scored again
by `exact`. So the product may use whatever is fastest, as long as its error is bounded. Two kinds:

- fp32: rounding alone, at most (d + 8) 2^-24 |q| |i| (Higham, Accuracy and Stability of Numerical Algorithms,
  3.1).
- bf16: twice as fast where the CPU or GPU multiplies bfloat16. The bound adds what rounding the vectors
  costs, by Cauchy-Schwarz from the norms of what is left over: |q.i - q'.i'| <= |q - q'| |i| + |q'| |i - i'|.

On a CPU the product is oneDNN's, with the block laid out once: it uses AVX-512 where torch's default library
does not.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newslake.errors import UserError
from newslake.search.knn_settings import Precision
from newslake.search.unit_rows import Floats
from newslake.text.onednn import has_onednn

Rows = npt.NDArray[np.int64]

_PAIRS_AT_ONCE = 256  # rows gathered at a time: both sides stay in the L2 cache
_UNIT_ROUNDOFF = 2.0**-24


def exact(queries: Floats, items: Floats, rows: Rows, columns: Rows) -> Floats:
    """The score of each pair (rows[i], columns[i]): the float32 inner product, summed in one fixed order.

    It depends on the two vectors alone, never on tile, file, partition or library: equal vectors get equal
    scores.

    Args:
        queries: (q, d) C-contiguous.
        items: (n, d) C-contiguous.
        rows, columns: (m,) which query, which item.

    Returns:
        (m,) scores; a zero is never negative.
    """
    found = np.empty(len(rows), np.float32)
    left = np.empty((min(_PAIRS_AT_ONCE, len(rows)), queries.shape[1]), np.float32)
    right = np.empty_like(left)
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        stop = min(start + _PAIRS_AT_ONCE, len(rows))
        a, b = left[: stop - start], right[: stop - start]
        np.take(queries, rows[start:stop], axis=0, out=a, mode="clip")
        np.take(items, columns[start:stop], axis=0, out=b, mode="clip")
        np.einsum("ij,ij->i", a, b, out=found[start:stop])
    found += np.float32(0.0)  # -0.0 becomes 0.0, so that equal scores have equal bits
    return found


@cache
def fast_precision(device: str) -> Literal["fp32", "bf16"]:
    """bf16 where the device multiplies it natively, else fp32."""
    if device != "cpu":
        return "bf16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if native() and has_onednn(torch.bfloat16) else "fp32"


def resolved(precision: Precision, device: str) -> Literal["fp32", "bf16"]:
    """What `auto` means here."""
    return fast_precision(device) if precision == "auto" else precision


def search_device(name: str) -> str:
    """`auto` is a GPU where there is one.

    Raises:
        UserError: a GPU is asked for, and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use auto to fall back to the CPU")
    return name


@dataclass(frozen=True)
class Bounds:
    """What the error bound needs of rows x and their rounded form x': each (n,), float64."""

    norm: npt.NDArray[np.float64]
    rounded_norm: npt.NDArray[np.float64]
    rest: npt.NDArray[np.float64]

    def largest(self) -> tuple[float, float, float]:
        """The largest of each; zeros where there is no row."""
        return tuple(float(part.max(initial=0.0)) for part in (self.norm, self.rounded_norm, self.rest))  # type: ignore[return-value]


def rounded(vectors: Floats, precision: str) -> tuple[Tensor, Bounds]:
    """The rows as the product takes them, and their bounds."""
    whole = torch.from_numpy(vectors)
    norm, rest = np.empty(len(vectors)), np.zeros(len(vectors))
    near = whole if precision == "fp32" else torch.empty(whole.shape, dtype=torch.bfloat16)
    for start in range(0, len(vectors), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        norm[part] = torch.linalg.vector_norm(whole[part], dim=1).numpy()
        if precision != "fp32":
            near[part] = whole[part]
            rest[part] = torch.linalg.vector_norm(whole[part] - near[part], dim=1).numpy()
    # float32 sums err by a part in a million at these sizes: what is added covers it.
    norm, rest = norm * (1.0 + 1e-4), rest * (1.0 + 1e-4)
    return near, Bounds(norm, norm + rest, rest)


class Block:
    """Items of one block, laid out for the product.

    Args:
        vectors: (n, d).
        width: the number of columns is padded to a multiple of it; what is added scores -inf.
        precision: fp32 or bf16.
        device: cpu or cuda.
    """

    def __init__(self, vectors: Floats, *, width: int, precision: str, device: str) -> None:
        self.rows = len(vectors)
        self.columns = -(-self.rows // width) * width
        near, bounds = rounded(vectors, precision)
        self._largest = bounds.largest()
        self._dimension = vectors.shape[1]
        if self.columns > self.rows:
            near = torch.cat([near, near.new_zeros(self.columns - self.rows, self._dimension)])
        self._packed = device == "cpu" and has_onednn(near.dtype)
        if device != "cpu":  # the bound is one for sums in float32
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        self._items = torch.ops.mkldnn._reorder_linear_weight(near) if self._packed else near.to(device)

    def scores(self, queries: Tensor) -> Tensor:
        """(q, columns) approximate scores, in the precision's own type."""
        if self._packed:
            found = torch.ops.mkldnn._linear_pointwise(queries, self._items, None, "none", [], "")
        else:
            found = torch.mm(queries, self._items.T)
        if self.columns > self.rows:
            found[:, self.rows :] = -torch.inf
        return found

    def errors(self, queries: Bounds) -> Floats:
        """(q,) how far an approximate score (before it is rounded to its type) and the exact one may lie
        apart, at most."""
        norm, rounded_norm, rest = self._largest
        sums = (
            (self._dimension + 8)
            * _UNIT_ROUNDOFF
            * (queries.rounded_norm * rounded_norm + queries.norm * norm)
        )
        bound = queries.rest * norm + queries.rounded_norm * rest + sums
        return np.nextafter((bound * (1.0 + 1e-6)).astype(np.float32), np.float32(np.inf))
