"""Create the vendor's client with the stack's own key.

The key is kept in Secrets Manager and fetched every five minutes and after a 401. This module must not know jobs.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from shared.genviral.client import GenviralClient, Timeouts
from shared.runtime import AwsCallFailed, SettingsInvalid, client, settings

if TYPE_CHECKING:
    from shared.faults import Paid

_KEY_KEPT_SECONDS = 300
POLL = Timeouts(connect=5, read=15, write=5, pool=5, total=20)
"""Timeouts of a poll, in seconds."""
_NOT_SET = "not-set"  # what the template puts into a new stack's secret


@dataclass(frozen=True, slots=True)
class _Settings:
    """The environment that all functions which call the vendor have in common."""

    allow_private_output: bool = False


@functools.cache
def genviral(base_url: str, secret: str, *, timeouts: Timeouts, paid: Paid) -> GenviralClient:
    """Return the vendor's client, created once for each Lambda environment.

    Args:
        base_url: The Partner API's base URL.
        secret: ARN of the secret that holds the API key as plain text.
        timeouts: Timeouts of its calls.
        paid: Whether the job may have been paid for when the key cannot be read or may not be sent.

    Raises:
        SettingsInvalid: The key would go over the network unencrypted.
    """
    if not base_url.startswith("https://") and not settings(_Settings).allow_private_output:
        raise SettingsInvalid(
            "GenviralBaseUrl does not begin with https://, so the API key would be sent unencrypted; http:// is "
            "allowed only on a laptop, with AllowPrivateOutput=true",
            paid=paid,
        )
    kept, kept_until = "", 0.0

    def api_key(refresh: bool) -> str:
        nonlocal kept, kept_until
        if refresh or time.time() >= kept_until:
            kept = _fetch_key(secret, paid)
            kept_until = time.time() + _KEY_KEPT_SECONDS
        return kept

    return GenviralClient(api_key, base_url=base_url, timeouts=timeouts)


def _fetch_key(secret: str, paid: Paid) -> str:
    try:
        key: str = client("secretsmanager").get_secret_value(SecretId=secret).get("SecretString", "").strip()
    except (ClientError, BotoCoreError) as error:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        raise AwsCallFailed(f"GetSecretValue failed with {code or 'an unknown code'}", paid=paid) from None
    return "" if key == _NOT_SET else key
