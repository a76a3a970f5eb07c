"""A seam to MiniStack: what its CloudFormation does unlike AWS, as far as this project's template meets it.

It knows MiniStack's table of resource handlers, and no template.
"""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import provisioners


def install() -> None:
    """Make `Ref` of a secret its ARN, as on AWS; MiniStack answers its name."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create = handlers["create"]

    def create_with_arn(*arguments: Any, **options: Any) -> tuple[str, dict[str, str]]:
        _, attributes = create(*arguments, **options)
        return attributes["Arn"], attributes

    handlers["create"] = create_with_arn
