"""The names by which Milvus's collections are read: aliases."""

from typing import Any

from newslake.errors import UserError
from newslake.serving.stores.milvus.collection import holdings
from newslake.serving.stores.store import Kind, read_as


def read_name(client: Any, kind: Kind, prefix: str) -> str | None:
    """Name of the collection that is read; None where there is none.

    Raises:
        UserError: a collection that newslake did not make bears the alias's name.
    """
    alias = read_as(kind, prefix)
    if not client.has_collection(alias):
        return None
    name = str(client.describe_collection(alias)["collection_name"])
    if name != alias:
        return name
    # Older versions had one collection, and no alias.
    if "collection_id" not in holdings(client, alias):
        raise UserError(f"collection {alias} is there and was not made by newslake: choose another --prefix")
    return alias


def switch(client: Any, kind: Kind, prefix: str, name: str) -> bool:
    """Have a collection read; whether it was not before. A collection that bears the alias's name itself is
    dropped."""
    alias, before = read_as(kind, prefix), read_name(client, kind, prefix)
    if before == name:
        return False
    taken = client.has_collection(alias)
    is_alias = taken and client.describe_collection(alias)["collection_name"] != alias
    if taken and not is_alias:
        client.drop_collection(alias)
    (client.alter_alias if is_alias else client.create_alias)(collection_name=name, alias=alias)
    return True
