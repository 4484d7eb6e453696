"""Which store of vectors an address stands for: the one place that names Milvus to the rest of newslake."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.serving.stores.milvus.client import default_uri, is_file, opened, token_or_environment
from newslake.serving.stores.milvus.store import MilvusStore
from newslake.serving.stores.store import VectorStore


@contextmanager
def open_store(uri: str, token: str | None = None) -> Iterator[VectorStore]:
    """The store at an address, closed at the end.

    Args:
        uri: a Milvus server's address, such as http://milvus:19530, or a local file that ends in .db (made
            where there is none).
        token: of the server, such as user:password; by default what the environment variable MILVUS_TOKEN
            says.

    Raises:
        UserError: no server answers, it refuses the token, or another process has the file.
    """
    with opened(uri, token) as client:
        yield MilvusStore(client, None if is_file(uri) else _Again(uri, token_or_environment(token)))


@dataclass(frozen=True)
class _Again:
    """How a task opens the same server: by the token that the driver found in its own environment."""

    uri: str
    token: str = field(repr=False)

    def __call__(self) -> AbstractContextManager[VectorStore]:
        return open_store(self.uri, self.token)


def place_to_export_to(lake: Lakehouse, uri: str | None) -> str:
    """The address that was given, or the local file that serves where none is.

    Raises:
        UserError: the tables are names in a metastore, and there is no work folder.
    """
    return uri or default_uri(lake)


def place_exported_to(lake: Lakehouse, uri: str | None) -> str | None:
    """The same; None where nothing was ever exported to the local file.

    Raises:
        UserError: a file that was given is not there.
    """
    if uri is None:
        if lake.work is None:
            return None
        uri = default_uri(lake)
    elif is_file(uri) and not Path(uri).expanduser().exists():
        raise UserError(f"--uri {uri}: there is no such Milvus file")
    return uri if not is_file(uri) or Path(uri).expanduser().exists() else None
