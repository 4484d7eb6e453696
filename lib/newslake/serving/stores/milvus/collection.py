"""Collections in Milvus that know what they hold: made, found, counted, dropped.

Milvus Lite has no partitions, so articles are filtered by their date. It forgets a collection's description:
what a collection holds is a property. A collection holds one topic model's vectors, and bears its name;
serving/stores/milvus/alias.py has the name by which it is read.

A time to live is a field with the moment at which an item leaves, named by the property ttl_field: Milvus 3
hides an item from that moment on, Milvus Lite and 2.6.4 keep the field and hide nothing. The time to live
that Milvus counts from an item's last writing (collection.ttl.seconds) would take away young articles that
were sent long ago, and keep old ones that were sent again.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from newslake.errors import JobFailed, UserError
from newslake.serving.stores.store import EXPIRES, VECTOR, Collection, Kind, Wanted, read_as

MAX_ID_BYTES = 1024
_HOLDS = "newslake.holds"  # the property that says what a collection holds, as JSON
_DAYS = "time_to_live_days"


def ensured(client: Any, wanted: Wanted, *, size: int | None, rebuild: bool = False) -> Collection | None:
    """See VectorStore.ensure; client: from `opened`."""
    kind, prefix, days = wanted.kind, wanted.prefix, wanted.days
    name = collection_name(kind, prefix, wanted.identity["topic_model"])
    if rebuild and client.has_collection(name):
        drop(client, name)
    if not client.has_collection(name):
        if size is None:
            return None
        _create(
            client,
            kind,
            name,
            {**wanted.identity, "collection_id": uuid.uuid4().hex, "alias": read_as(kind, prefix)},
            size,
            days or None,
        )
    found, holds = described(client, kind, name)
    if size is not None and found.size != size:
        raise UserError(f"collection {name} holds vectors of {found.size} entries, not {size}: {_ways_out()}")
    for part, value in wanted.identity.items():
        if holds.get(part) != value:
            raise UserError(
                f"collection {name} holds vectors of {part} {holds.get(part)}, not {value}: {_ways_out()}"
            )
    _refuse_lacking(client, found, days)
    if days is None or days == (found.days or 0):
        return found
    _tell(client, name, {**holds, _DAYS: days})
    return replace(found, days=days)


def existing(client: Any, kind: Kind, prefix: str) -> list[Collection]:
    """The collections of this kind, one for each topic model; one that an older version made bears the
    alias's name."""
    alias, found = read_as(kind, prefix), []
    for name in sorted(
        name for name in client.list_collections() if name == alias or name.startswith(f"{alias}_")
    ):
        holds = holdings(client, name)
        if holds.get("alias", name) == alias and "collection_id" in holds:
            found.append(described(client, kind, name)[0])
    return found


def drop(client: Any, name: str) -> None:
    """Drop a collection; a server drops none that an alias names."""
    for alias in aliases_of(client, name):
        client.drop_alias(alias=alias)
    client.drop_collection(name)


def aliases_of(client: Any, name: str) -> list[str]:
    """The aliases of a collection."""
    return list(client.list_aliases(collection_name=name)["aliases"])


def count(client: Any, collection: Collection) -> int:
    """Items in the collection, everything that was written before counted."""
    client.load_collection(collection.name)  # Milvus Lite has none loaded when it opens a file
    return int(
        client.query(collection.name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0][
            "count(*)"
        ]
    )


def collection_name(kind: Kind, prefix: str, topic_model: str) -> str:
    """Full name of the collection of a topic model's vectors: the alias, then the model, of which Milvus
    takes letters, digits and _ only.

    Raises:
        UserError: Milvus takes no such prefix.
    """
    safe = re.sub(r"[^A-Za-z0-9_]", "_", topic_model)[:100]
    # Two models whose names differ in other characters only must not meet.
    mark = "" if safe == topic_model else f"_{hashlib.sha256(topic_model.encode()).hexdigest()[:4]}"
    return f"{read_as(kind, prefix)}_{safe}{mark}"


def _refuse_lacking(client: Any, found: Collection, days: int | None) -> None:
    """Refuse a collection without a field that is to be sent, as one that an older version made.

    Raises:
        UserError: names the fields.
    """
    wanted = {*found.scalars, *([EXPIRES] if days else [])}
    there = {field["name"] for field in client.describe_collection(found.name)["fields"]}
    if lacking := sorted(wanted - there):
        asked = ", which --time-to-live-days needs" if lacking == [EXPIRES] else ""
        raise UserError(
            f"collection {found.name} was made without the field {', '.join(lacking)}{asked}: {_ways_out()}"
        )


def _tell(client: Any, name: str, holds: Mapping[str, Any]) -> None:
    """Have a collection say what it holds."""
    client.alter_collection_properties(name, properties={_HOLDS: json.dumps(holds, sort_keys=True)})


def _create(
    client: Any, kind: Kind, name: str, holds: Mapping[str, Any], size: int, days: int | None = None
) -> None:
    """Make a collection.

    Raises:
        UserError: the server knows no field with a moment, which a time to live needs.
    """
    from pymilvus import DataType
    from pymilvus.exceptions import MilvusException

    types = {
        "int32": (DataType.INT32, {}),
        "float": (DataType.FLOAT, {}),
        "varchar": (DataType.VARCHAR, {"max_length": MAX_ID_BYTES}),
    }
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(kind.key, DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
    for field, text in kind.scalars.items():
        schema.add_field(field, types[text][0], **types[text][1])
    properties = {}
    if days is not None:
        holds = {**holds, _DAYS: days}
        schema.add_field(EXPIRES, DataType.TIMESTAMPTZ, nullable=True)
        properties["ttl_field"] = EXPIRES
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=size)
    index = client.prepare_index_params()
    index.add_index(VECTOR, index_type="AUTOINDEX", metric_type="COSINE")
    properties[_HOLDS] = json.dumps(holds, sort_keys=True)
    try:
        client.create_collection(name, schema=schema, index_params=index, properties=properties)
    except MilvusException as error:
        if days is None:
            raise
        raise UserError(
            f"--time-to-live-days {days}: this Milvus makes no collection with it ({error.message}): take"
            " Milvus 3, or leave the option out"
        ) from None


def holdings(client: Any, name: str) -> dict[str, Any]:
    """What a collection says that it holds; nothing where newslake did not make it."""
    found = client.describe_collection(name)
    try:
        # The description: where newslake wrote it before Milvus Lite 3.
        holds = json.loads((found.get("properties") or {}).get(_HOLDS) or found.get("description") or "")
    except ValueError:
        return {}
    return holds if isinstance(holds, dict) else {}


def described(client: Any, kind: Kind, name: str) -> tuple[Collection, dict[str, Any]]:
    """A collection of ours, and what it holds.

    Raises:
        UserError: newslake did not make it.
    """
    found, holds = client.describe_collection(name), holdings(client, name)
    if "collection_id" not in holds:
        raise UserError(f"collection {name} is there and was not made by newslake: choose another --prefix")
    sizes = [field["params"]["dim"] for field in found["fields"] if field["name"] == VECTOR]
    if not sizes:
        raise JobFailed(f"collection {name} has no field {VECTOR}")
    return Collection(
        kind,
        name,
        str(holds["collection_id"]),
        int(sizes[0]),
        str(holds.get("topic_model")),
        holds.get(_DAYS),
    ), holds


def _ways_out() -> str:
    return (
        "export under another --prefix, or run jobs/export_vectors.py with --rebuild, which drops what is"
        " there and sends all anew"
    )
