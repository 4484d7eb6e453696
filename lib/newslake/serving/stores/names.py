"""Which collections are read: switched to those of another topic model.

Articles' and users' vectors mean something to each other only where they are of one model, so both switch in
one go, once both collections are filled.
"""

from collections.abc import Iterable

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.stores.store import KINDS, Collection, VectorStore, read_as
from newslake.switches.topic_model import active_topic_model


def switch_all(
    lake: Lakehouse,
    run: JobRun,
    store: VectorStore,
    prefix: str,
    filled: Iterable[Collection],
    *,
    first: bool = False,
) -> None:
    """Have collections read that were just filled, where they are of the active topic model and no kind stays
    behind with another's.

    Args:
        lake: says which model is active.
        run: what to report to.
        store: an open one.
        prefix: of the names.
        filled: of one topic model: those that hold everything that they are to hold.
        first: only where nothing of their kind is read yet, such as after a micro-batch.
    """
    for collection in (mine := list(filled)):
        if collection.topic_model != (active_topic_model(lake) or collection.topic_model):
            name = read_as(collection.kind, prefix)
            run.fact(
                f"{collection.name}", f"not read by the name {name}: its topic model is not the active one"
            )
            return
    reads = {kind.name: store.read_collection(kind, prefix) for kind in KINDS}
    if first:
        mine = [collection for collection in mine if reads[collection.kind.name] is None]
    kinds, models = (
        {collection.kind.name for collection in mine},
        {collection.topic_model for collection in mine},
    )
    others = [read for name, read in reads.items() if read is not None and name not in kinds]
    if behind := [other for other in others if mine and other.topic_model not in models]:
        waits = " and ".join(other.kind.name for other in behind)
        run.fact(
            "aliases",
            f"not switched yet: {waits} are still those of {behind[0].topic_model}: export them too",
        )
        return
    for collection in mine:
        if store.let_read(collection, prefix):
            run.progress(f"{read_as(collection.kind, prefix)} is {collection.name} now")


def unread(store: VectorStore, prefix: str, keep: set[str]) -> list[Collection]:
    """Collections that nobody reads, of other topic models than those to keep."""
    found = []
    for kind in KINDS:
        read = store.read_collection(kind, prefix)
        name = None if read is None else read.name
        found += [
            each
            for each in store.collections(kind, prefix)
            if each.name != name and each.topic_model not in keep
        ]
    return found
