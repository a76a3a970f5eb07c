"""Start the console beside the cloud on a laptop, in a process of its own. The cloud works without it as well.

The console belongs to the operator's commands, of which `local` knows no more than the command line.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from local.cloud import API_KEY, Child, CloudFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def console(settings: Mapping[str, str]) -> Iterator[tuple[str | None, str]]:
    """Run the console, and yield its address; None and the reason where it could not be started.

    Args:
        settings: The variables with which a shell reaches the cloud.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != API_KEY}
    nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    with Child("cli", "console", "--json", "--with-parent", environment=kept | nothing | dict(settings)) as child:
        try:
            said = child.ready()
        except (CloudFailed, ValueError) as error:
            said = {"error": {"message": str(error)}}
        yield said.get("console"), said.get("error", {}).get("message", "")
