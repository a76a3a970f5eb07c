"""The vendor's client with the stack's own key.

Knows where the key is kept: in Secrets Manager, fetched every five minutes and after a 401. Must not know jobs.
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
LOOK = Timeouts(connect=5, read=15, write=5, pool=5, total=20)
"""Time-outs of a look at a video, in seconds."""
_NOT_SET = "not-set"  # what the template puts into a new stack's secret


@dataclass(frozen=True, slots=True)
class _Settings:
    """What each function that calls the vendor has in its environment, beside its own settings."""

    allow_private_output: bool = False


@functools.cache
def genviral(base_url: str, secret: str, *, timeouts: Timeouts, paid: Paid) -> GenviralClient:
    """A client for the vendor, made once an environment.

    Args:
        base_url: The Partner API's base URL.
        secret: ARN of the secret that holds the API key as plain text.
        timeouts: Time-outs of its calls.
        paid: What to say about the money when the key cannot be read or may not be sent.

    Raises:
        SettingsInvalid: The key would go over the network unencrypted.
    """
    if not base_url.startswith("https://") and not settings(_Settings).allow_private_output:
        raise SettingsInvalid(
            "GenviralBaseUrl does not begin with https://, so the API key would go over the network unencrypted; only "
            "with AllowPrivateOutput=true, on a laptop, may it be http://",
            paid=paid,
        )
    kept, kept_until = "", 0.0

    def api_key(refresh: bool) -> str:
        nonlocal kept, kept_until
        if refresh or time.time() >= kept_until:
            kept = _fetched(secret, paid)
            kept_until = time.time() + _KEY_KEPT_SECONDS
        return kept

    return GenviralClient(api_key, base_url=base_url, timeouts=timeouts)


def _fetched(secret: str, paid: Paid) -> str:
    try:
        key: str = client("secretsmanager").get_secret_value(SecretId=secret).get("SecretString", "").strip()
    except (ClientError, BotoCoreError) as error:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        raise AwsCallFailed(f"GetSecretValue failed with {code or 'an unknown code'}", paid=paid) from None
    return "" if key == _NOT_SET else key
