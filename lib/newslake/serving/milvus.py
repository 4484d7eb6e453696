"""Milvus behind one module: opened in a local file or at a server, collections that know what they hold, counts.

A local file is Milvus Lite's, which lets one process at a time have it: only the driver writes. Lite knows neither partitions nor
properties of collections, so articles are filtered by their date, and what a collection holds stands in its description.
"""

import fcntl
import json
import logging
import os
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newslake.errors import JobFailed, UserError
from newslake.jobrun import masked
from newslake.lakehouse import Lakehouse

DEFAULT_PREFIX = "newslake"
MAX_ID_BYTES = 1024
VECTOR = "vector"
_SERVER = re.compile(r"(https?|tcp|unix)://?\S+")
_LITE_NAME = re.compile(r"[A-Za-z0-9._-]{1,33}\.db")  # what Milvus Lite takes
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONNECT_S = 20.0


@dataclass(frozen=True)
class Kind:
    """What a kind of collection holds.

    Attributes:
        name: what follows the prefix in the collection's name.
        key: the primary key.
        scalars: the other fields but the vector, with their types: int32, float or varchar.
        day: the scalar by which the table is partitioned.
    """

    name: str
    key: str
    scalars: Mapping[str, str]
    day: str | None = None


ARTICLES = Kind("articles", "news_id", {"news_date": "int32"}, day="news_date")
"""news_date is a number such as 20191115, so that a filter is `news_date >= 20191114`; 19700101 without a date."""
USERS = Kind("users", "vector_id", {"user_id": "varchar", "weight": "float"})
"""vector_id is user_id/tag_group/phrase_id; weight that of the phrase in the user's profile."""


@dataclass(frozen=True)
class Collection:
    """A collection of ours: its full name, the id that it got when it was made, and the entries of its vectors."""

    kind: Kind
    name: str
    collection_id: str
    size: int


def default_uri(lake: Lakehouse) -> str:
    """The local file that serves where no --uri is given: _milvus/newslake.db beside the tables.

    Raises:
        UserError: the tables do not lie in a local folder.
    """
    if lake.root is None or "://" in lake.root or lake.root.startswith("dbfs:"):
        raise UserError(f"the tables ({lake}) lie in no local folder that Milvus could have a file in: say where it is with --uri")
    return f"{lake.root}/_milvus/newslake.db"


def is_file(uri: str) -> bool:
    """Whether the URI is a local file of Milvus Lite."""
    return not _SERVER.fullmatch(uri)


@contextmanager
def opened(uri: str, token: str | None = None) -> Iterator[Any]:
    """A MilvusClient, closed at the end.

    Args:
        uri: a server's address, such as http://milvus:19530, or a local file that ends in .db (made where there is none).
        token: of the server, such as user:password; by default what the environment variable MILVUS_TOKEN says.

    Raises:
        UserError: no server answers, it refuses the token, or another process has the file.
    """
    token = token or os.environ.get("MILVUS_TOKEN", "")
    # Imported late: half a second, and it warns of its own imports.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        shown = masked("", uri)
        where, is_ours = _file(uri) if is_file(uri) else (uri, False)
        try:
            client = MilvusClient(where, token=token, timeout=_CONNECT_S)
        except (MilvusException, OSError, RuntimeError) as error:
            if is_file(uri):
                raise UserError(f"--uri {shown}: the file cannot be opened as a Milvus database ({_reason(error, token)})") from None
            raise UserError(f"--uri {shown}: no Milvus that takes the --token answers there ({_reason(error, token)})") from None
    try:
        yield client
    finally:
        client.close()
        if is_ours:
            _release(where)


def ensured(
    client: Any, kind: Kind, prefix: str, *, identity: Mapping[str, str], size: int | None, rebuild: bool = False
) -> Collection | None:
    """The collection of this kind, made where it is not there.

    Args:
        client: from `opened`.
        kind: articles or users.
        prefix: of its name.
        identity: encoder_id and topic_model of its vectors.
        size: entries of a vector, for a new collection; None makes none.
        rebuild: drop it first.

    Returns:
        None where it is not there and size is None.

    Raises:
        UserError: it holds other vectors, or is none of ours.
    """
    name = collection_name(kind, prefix)
    if rebuild and client.has_collection(name):
        client.drop_collection(name)
    if not client.has_collection(name):
        if size is None:
            return None
        _create(client, kind, name, {**identity, "collection_id": uuid.uuid4().hex}, size)
    found, holds = _described(client, kind, name)
    if size is not None and found.size != size:
        raise UserError(f"collection {name} holds vectors of {found.size} entries, not {size}: {_ways_out()}")
    for part, value in identity.items():
        if holds.get(part) != value:
            raise UserError(f"collection {name} holds vectors of {part} {holds.get(part)}, not {value}: {_ways_out()}")
    return found


def existing(client: Any, kind: Kind, prefix: str) -> Collection | None:
    """The collection of this kind whatever its vectors are of; None where it is not there."""
    name = collection_name(kind, prefix)
    return _described(client, kind, name)[0] if client.has_collection(name) else None


def count(client: Any, collection: Collection) -> int:
    """Items in the collection, everything that was written before counted."""
    return int(client.query(collection.name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"])


def collection_name(kind: Kind, prefix: str) -> str:
    """Full name of a collection.

    Raises:
        UserError: Milvus takes no such prefix.
    """
    if not _PREFIX.fullmatch(prefix):
        raise UserError(f"--prefix {prefix}: letters, digits and _ only, and no digit first")
    return f"{prefix}_{kind.name}"


def _create(client: Any, kind: Kind, name: str, holds: Mapping[str, str], size: int) -> None:
    from pymilvus import DataType

    types = {
        "int32": (DataType.INT32, {}),
        "float": (DataType.FLOAT, {}),
        "varchar": (DataType.VARCHAR, {"max_length": MAX_ID_BYTES}),
    }
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=json.dumps(holds, sort_keys=True))
    schema.add_field(kind.key, DataType.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
    for field, text in kind.scalars.items():
        schema.add_field(field, types[text][0], **types[text][1])
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=size)
    index = client.prepare_index_params()
    index.add_index(VECTOR, index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index)


def _described(client: Any, kind: Kind, name: str) -> tuple[Collection, dict[str, str]]:
    found = client.describe_collection(name)
    try:
        holds = json.loads(found.get("description") or "")
        collection_id = str(holds["collection_id"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"collection {name} is there and was not made by newslake: choose another --prefix") from None
    sizes = [field["params"]["dim"] for field in found["fields"] if field["name"] == VECTOR]
    if not sizes:
        raise JobFailed(f"collection {name} has no field {VECTOR}")
    return Collection(kind, name, collection_id, int(sizes[0])), holds


def _ways_out() -> str:
    return "choose another --prefix, or drop what is there and export all anew with --rebuild"


def _file(uri: str) -> tuple[str, bool]:
    """The file's absolute path, its folder made, and whether this process has yet to open it.

    Looks first whether another process has the file, which Milvus Lite says less clearly. Not where this process has it:
    closing a second handle to the lock would give the lock up.
    """
    from milvus_lite.server_manager import server_manager_instance

    path = Path(uri).expanduser().resolve()
    if not _LITE_NAME.fullmatch(path.name):
        raise UserError(
            f"--uri {uri}: give http://host:port, or a file whose name ends in .db (letters, digits, . _ -, 36 characters at most)"
        )
    if str(path) in server_manager_instance._servers:
        return str(path), False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("a") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"--uri {uri}: another process has this Milvus file open: wait for it to end, or run a Milvus server and give its address"
        ) from None
    except OSError as error:
        raise UserError(f"--uri {uri}: {error.strerror}") from None
    return str(path), True


def _release(path: str) -> None:
    # close() leaves the file's own server running, and with it the lock, until this process ends.
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(path)


def _reason(error: Exception, token: str) -> str:
    text = " ".join(str(getattr(error, "message", error)).split())[:300]
    return text.replace(token, "***") if token else text
