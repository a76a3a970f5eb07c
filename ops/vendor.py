"""Ask Genviral for a video or its models, with the stack's own key. That costs nothing and changes nothing.

Knows where the key is kept. Must not know jobs, nor what is done with the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.exits import Refused

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from shared.genviral.client import GenviralClient, Model, Video

_NOT_SET = "not-set"  # what the template puts into a new stack's secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """Genviral as the stack reaches it.

    Args:
        secrets: A boto3 Secrets Manager client.
        secret: ARN of the secret with the API key.
        base_url: The Partner API's address.
        allow_http: Whether the key may go over the network unencrypted. For a laptop.
    """

    secrets: SecretsManagerClient
    secret: str
    base_url: str
    allow_http: bool = False

    def video(self, video_id: str) -> Video:
        """The video as Genviral sees it now.

        Raises:
            GenviralFault: Genviral does not know it, or cannot be asked.
            ClientError: The key may not be read.
            Refused: The key would go over the network unencrypted.
        """
        with self._client() as client:
            return client.get_video(video_id)

    def models(self) -> list[Model]:
        """The models that the account may use.

        Raises:
            GenviralFault: Genviral refuses the key, or cannot be asked.
            ClientError: The key may not be read.
            Refused: The key would go over the network unencrypted.
        """
        with self._client() as client:
            return client.list_models()

    def _client(self) -> GenviralClient:
        if not (self.base_url.startswith("https://") or self.allow_http):
            raise Refused(
                "GenviralBaseUrl does not begin with https://, so the API key would go over the network unencrypted. "
                "Genviral was not asked. Correct the stack's parameter."
            )
        # Here, because few commands need it, and it takes longer to import than all the rest of the commands.
        from shared.genviral.client import GenviralClient, Timeouts

        return GenviralClient(self._key, base_url=self.base_url, timeouts=Timeouts())

    def _key(self, _refresh: bool) -> str:
        key = self.secrets.get_secret_value(SecretId=self.secret).get("SecretString", "").strip()
        return "" if key == _NOT_SET else key
