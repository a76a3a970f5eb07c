"""Ask Genviral for a video, with the stack's own key. That costs nothing and changes nothing.

Knows where the key is kept. Must not know jobs, nor what is done with the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from shared.genviral.client import Video

_NOT_SET = "not-set"  # what the template puts into a new stack's secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """Genviral as the stack reaches it.

    Args:
        secrets: A boto3 Secrets Manager client.
        secret: ARN of the secret with the API key.
        base_url: The Partner API's address.
    """

    secrets: SecretsManagerClient
    secret: str
    base_url: str

    def video(self, video_id: str) -> Video:
        """The video as Genviral sees it now.

        Raises:
            GenviralFault: Genviral does not know it, or cannot be asked.
            ClientError: The key may not be read.
        """
        # Here, because only one command needs it, and it takes longer to import than all the rest of the commands.
        from shared.genviral.client import GenviralClient, Timeouts

        with GenviralClient(self._key, base_url=self.base_url, timeouts=Timeouts()) as client:
            return client.get_video(video_id)

    def _key(self, _refresh: bool) -> str:
        key = self.secrets.get_secret_value(SecretId=self.secret).get("SecretString", "").strip()
        return "" if key == _NOT_SET else key
