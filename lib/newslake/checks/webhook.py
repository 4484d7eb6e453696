"""Tell a webhook of breaches: one POST of JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from newslake.errors import UserError

_TIMEOUT_S = 10.0


def checked_address(address: str) -> str:
    """The address of a webhook.

    Raises:
        UserError: it is not an address.
    """
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UserError("--webhook takes an address that begins with http:// or https://")
    return address


def post(address: str, message: Mapping[str, Any]) -> str | None:
    """Send one message; None where it was taken, else what went wrong. The address, which may be a secret, is
    not in it.

    Args:
        address: from checked_address.
        message: what becomes the JSON.
    """
    body = json.dumps(message, allow_nan=False).encode()
    request = Request(address, data=body, headers={"Content-Type": "application/json"}, method="POST")
    host = urlsplit(address).hostname
    try:
        with urlopen(request, timeout=_TIMEOUT_S):
            return None
    except HTTPError as error:
        return f"{host} answered {error.code} {error.reason}"
    except OSError as error:  # URLError and time-outs among them
        return f"{host} cannot be reached: {getattr(error, 'reason', None) or error}"
    except Exception as error:  # what is no HTTP at the other end: whatever it is, the breach must be told
        return f"{host} gave no answer in HTTP ({type(error).__name__})"


def message_of(
    lakehouse: str, run_id: str, checked_at: str, breaches: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The message: `text` for people, which chats show as it is, and the breaches for programs."""
    lines = [f"{breach['check_name']}: {breach['told']}" for breach in breaches]
    text = "\n".join([f"newslake, {lakehouse}: {len(lines)} of its checks failed", *lines])
    return {
        "text": text,
        "lakehouse": lakehouse,
        "run_id": run_id,
        "checked_at": checked_at,
        "breaches": list(breaches),
    }
