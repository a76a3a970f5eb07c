"""The vendor's client with the stack's own key.

Knows where the key is kept (Secrets Manager, through Powertools: cached for five minutes, fetched anew after a 401).
Must not know jobs.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from shared.genviral.client import GenviralClient, Timeouts
from shared.runtime import AwsCallFailed, client

if TYPE_CHECKING:
    from shared.faults import Paid

_KEY_CACHED_SECONDS = 300
_NOT_SET = "not-set"  # what the template puts into a new stack's secret


@functools.cache
def genviral(base_url: str, secret: str, *, timeouts: Timeouts, paid: Paid) -> GenviralClient:
    """A client for the vendor, made once an environment: its TLS context alone takes 40 ms.

    Args:
        base_url: The Partner API's base URL.
        secret: ARN of the secret that holds the API key as plain text.
        timeouts: Time-outs of its calls.
        paid: What to say about the money when the key cannot be read.
    """

    secrets = SecretsProvider(boto3_client=client("secretsmanager"))

    def api_key(refresh: bool) -> str:
        try:
            value = secrets.get(secret, max_age=_KEY_CACHED_SECONDS, force_fetch=refresh)
        except GetParameterError as error:
            cause = error.__context__  # Powertools raises its own error while it handles botocore's
            code = cause.response.get("Error", {}).get("Code") if isinstance(cause, ClientError) else None
            raise AwsCallFailed(f"GetSecretValue failed with {code or 'an unknown code'}", paid=paid) from None
        key = str(value).strip()
        return "" if key == _NOT_SET else key

    return GenviralClient(api_key, base_url=base_url, timeouts=timeouts)
