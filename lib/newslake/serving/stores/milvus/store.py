"""Milvus as a store of vectors: see stores/store.py for what each of these does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F

from newslake.serving.stores.milvus import alias
from newslake.serving.stores.milvus.collection import MAX_ID_BYTES, count, described, drop, ensured, existing
from newslake.serving.stores.store import ITEM, VECTOR, Collection, Kind, Opener, Wanted

# Milvus's client puts the ids that it deletes into an expression as they are, and Milvus Lite those that it
# replaces into SQL.
_UNSAFE_ID = r"['\\\x00-\x1F\x7F]"


class MilvusStore:
    """A VectorStore by a MilvusClient that is open (see client.opened); `again`: how an executor opens
    one."""

    def __init__(self, client: Any, again: Opener | None = None) -> None:
        self._client, self._again = client, again

    def for_executors(self) -> Opener | None:
        return self._again

    def ensure(self, wanted: Wanted, *, size: int | None, rebuild: bool = False) -> Collection | None:
        return ensured(self._client, wanted, size=size, rebuild=rebuild)

    def collections(self, kind: Kind, prefix: str) -> list[Collection]:
        return existing(self._client, kind, prefix)

    def upsert(self, collection: Collection, items: pa.Table) -> None:
        self._client.upsert(collection.name, data=_entities(items, collection))

    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        self._client.delete(collection.name, ids=list(ids))

    def count(self, collection: Collection) -> int:
        return count(self._client, collection)

    def drop(self, collection: Collection) -> None:
        drop(self._client, collection.name)

    def problem(self, collection: Collection) -> Column:
        vector = F.col(VECTOR)
        broken = F.exists(vector, lambda x: x.isNull() | F.isnan(x) | (F.abs(x) == float("inf")))
        other_size = F.concat(F.lit(f"not a vector of {collection.size} entries, but of "), F.size(vector))
        problem = (
            F.when(F.octet_length(ITEM) > MAX_ID_BYTES, F.lit(f"the id is longer than {MAX_ID_BYTES} bytes"))
            .when(
                F.col(ITEM).rlike(_UNSAFE_ID),
                F.lit("the id holds a quote ('), a backslash or a control character"),
            )
            .when(F.size(vector) != collection.size, other_size)
            .when(broken, F.lit("the vector holds an entry that is no finite number"))
        )
        for name in (name for name, kind in collection.scalars.items() if kind == "varchar"):
            long = F.octet_length(name) > MAX_ID_BYTES
            problem = problem.when(long, F.lit(f"the {name} is longer than {MAX_ID_BYTES} bytes"))
        return problem

    def read_collection(self, kind: Kind, prefix: str) -> Collection | None:
        name = alias.read_name(self._client, kind, prefix)
        return None if name is None else described(self._client, kind, name)[0]

    def let_read(self, collection: Collection, prefix: str) -> bool:
        return alias.switch(self._client, collection.kind, prefix, collection.name)


def _entities(batch: pa.Table, collection: Collection) -> list[dict[str, Any]]:
    """The batch as Milvus's client takes it: one dictionary an item. The vectors stay rows of one matrix."""
    values = batch[VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix = np.ascontiguousarray(values, dtype=np.float32).reshape(batch.num_rows, collection.size)
    names = [collection.kind.key, *collection.scalars, VECTOR]
    scalars = [_values(batch[name], kind) for name, kind in {ITEM: "varchar", **collection.scalars}.items()]
    return [dict(zip(names, item, strict=True)) for item in zip(*scalars, matrix, strict=True)]


def _values(column: pa.ChunkedArray, kind: str) -> list[Any]:
    """A field's values as Milvus's client takes them: moments as text."""
    found = pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ") if kind == "timestamp" else column
    return list(found.to_pylist())
