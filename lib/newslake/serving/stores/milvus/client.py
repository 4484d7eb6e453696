"""Milvus, opened in a local file or at a server.

A local file is Milvus Lite's (in truth a folder), which lets one process at a time have it: only the driver
writes. A server has as many writers as there are tasks.
"""

import fcntl
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from newslake.errors import UserError
from newslake.files.work import of_this_machine
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import masked

_SERVER = re.compile(r"(https?|tcp|unix)://?\S+")
_LITE_NAME = re.compile(r"[A-Za-z0-9._-]{1,33}\.db")  # what Milvus Lite takes
_CONNECT_S = 60.0  # a task of a busy executor takes some seconds to import what connects
# A server that is not told otherwise, as Milvus Lite's, cuts a connection that asks for signs of life more
# often than every five minutes; pymilvus does every 10 seconds. A server that is gone is still noticed.
_QUIET: dict[str, Any] = {"grpc_options": {"grpc.keepalive_time_ms": 330_000}}


def default_uri(lake: Lakehouse) -> str:
    """The local file that serves where no --uri is given: _milvus/newslake.db in the work folder, else on
    this machine's own disk.

    Raises:
        UserError: the tables are names in a metastore, and there is no work folder.
    """
    if lake.work is None:
        raise UserError(
            f"the tables ({lake}) have no folder that Milvus could have a file in: say where it is with"
            " --uri, or --work-folder"
        )
    return str(of_this_machine(lake, "_milvus") / "newslake.db")


def token_or_environment(token: str | None) -> str:
    """The token that was given, else what the environment variable MILVUS_TOKEN says; empty where neither
    does."""
    return token or os.environ.get("MILVUS_TOKEN", "")


def is_file(uri: str) -> bool:
    """Whether the URI is a local file of Milvus Lite."""
    return not _SERVER.fullmatch(uri)


@contextmanager
def opened(uri: str, token: str | None = None) -> Iterator[Any]:
    """A MilvusClient, closed at the end.

    Args:
        uri: a server's address, such as http://milvus:19530, or a local file that ends in .db (made where
            there is none).
        token: of the server, such as user:password; by default what the environment variable MILVUS_TOKEN
            says.

    Raises:
        UserError: no server answers, it refuses the token, or another process has the file.
    """
    token = token_or_environment(token)
    # Imported late: half a second, and it warns of its own imports.
    # Milvus Lite lacks a call that pymilvus asks for as it connects, and does without.
    for name in ("pymilvus", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymilvus import MilvusClient
        from pymilvus.client.cache import GlobalCache
        from pymilvus.exceptions import MilvusException

        shown = masked("", uri)
        where, is_ours = _file(uri) if is_file(uri) else (uri, False)
        try:
            client = MilvusClient(where, token=token, timeout=_CONNECT_S, **_QUIET)
        except (MilvusException, OSError, RuntimeError) as error:
            if is_file(uri):
                raise UserError(
                    f"Milvus at {shown}: the file cannot be opened as a database ({_reason(error, token)})"
                ) from None
            raise UserError(
                f"Milvus at {shown}: none that takes this token answers there ({_reason(error, token)})"
            ) from None
    # What an earlier connection of this process learnt of collections: one may have been made anew since.
    GlobalCache.schema.clear()
    try:
        yield client
    finally:
        client.close()
        if is_ours:
            _release(where)


def _file(uri: str) -> tuple[str, bool]:
    """The file's absolute path, its folder made, and whether this process has yet to open it.

    Looks first whether another process has the file, which Milvus Lite says less clearly.
    """
    from milvus_lite.server_manager import server_manager_instance

    path = Path(uri).expanduser().resolve()
    if not _LITE_NAME.fullmatch(path.name):
        raise UserError(
            f"Milvus at {uri}: give http://host:port, or a file whose name ends in .db (letters, digits, . _"
            " -, 36 characters at most)"
        )
    if path.is_file():
        raise UserError(
            f"Milvus at {uri}: a file of Milvus Lite 2, which Milvus Lite 3 does not read: move it away and"
            " export again"
        )
    if str(path) in server_manager_instance._servers:
        return str(path), False
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / "LOCK").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"Milvus at {uri}: another process has this Milvus file open: wait for it to end, or run a Milvus"
            " server and give its address"
        ) from None
    except OSError as error:
        raise UserError(f"Milvus at {uri}: {error.strerror}") from None
    return str(path), True


def _release(path: str) -> None:
    # close() leaves the file's own server running, and with it the lock, until this process ends.
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(path)


def _reason(error: Exception, token: str) -> str:
    text = " ".join(str(getattr(error, "message", error)).split())[:300]
    return text.replace(token, "***") if token else text
