"""The names by which collections are read: aliases that are switched to the collections of another topic model.

Articles' and users' vectors mean something to each other only where they are of one model, so both aliases move in one go, once both
collections are filled.
"""

from collections.abc import Iterable
from typing import Any

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.stores.milvus.collection import KINDS, Collection, Kind, alias_name, described, existing, holdings
from newslake.switches.topic_model import active_topic_model


def read_name(client: Any, kind: Kind, prefix: str) -> str | None:
    """Name of the collection that is read; None where there is none.

    Raises:
        UserError: a collection that is none of ours bears the alias's name.
    """
    alias = alias_name(kind, prefix)
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
    """Have a collection read; whether it was not before. A collection that bears the alias's name itself is dropped."""
    alias, before = alias_name(kind, prefix), read_name(client, kind, prefix)
    if before == name:
        return False
    taken = client.has_collection(alias)
    is_alias = taken and client.describe_collection(alias)["collection_name"] != alias
    if taken and not is_alias:
        client.drop_collection(alias)
    (client.alter_alias if is_alias else client.create_alias)(collection_name=name, alias=alias)
    return True


def switch_all(lake: Lakehouse, run: JobRun, client: Any, prefix: str, filled: Iterable[Collection], *, first: bool = False) -> None:
    """Have collections read that were just filled, where they are of the active topic model and no kind stays behind with another's.

    Args:
        lake: says which model is active.
        run: what to report to.
        client: from milvus.opened.
        prefix: of the names.
        filled: of one topic model: those that hold everything that they are to hold.
        first: only where nothing of their kind is read yet, such as after a micro-batch.
    """
    for collection in (mine := list(filled)):
        if collection.topic_model != (active_topic_model(lake) or collection.topic_model):
            run.fact(
                f"{collection.name}", f"not read by the name {alias_name(collection.kind, prefix)}: its topic model is not the active one"
            )
            return
    reads = [(kind, read_name(client, kind, prefix)) for kind in KINDS]
    if first:
        unset = {kind.name for kind, name in reads if name is None}
        mine = [collection for collection in mine if collection.kind.name in unset]
    kinds, models = {collection.kind.name for collection in mine}, {collection.topic_model for collection in mine}
    others = [described(client, kind, name)[0] for kind, name in reads if name is not None and kind.name not in kinds]
    if behind := [other for other in others if mine and other.topic_model not in models]:
        waits = " and ".join(other.kind.name for other in behind)
        run.fact("aliases", f"not switched yet: {waits} are still those of {behind[0].topic_model}: export them too")
        return
    for collection in mine:
        if switch(client, collection.kind, prefix, collection.name):
            run.progress(f"{alias_name(collection.kind, prefix)} is {collection.name} now")


def unread(client: Any, prefix: str, keep: set[str]) -> list[Collection]:
    """Collections that no alias names, of other topic models than those to keep."""
    found = []
    for kind in KINDS:
        reads = read_name(client, kind, prefix)
        found += [each for each in existing(client, kind, prefix) if each.name != reads and each.topic_model not in keep]
    return found
