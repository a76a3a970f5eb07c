"""Patch MiniStack's CloudFormation where this project's template needs AWS's behaviour."""

from __future__ import annotations

from typing import Any

from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

Created = tuple[str, dict[str, str]]

# MiniStack lacks these: saved log queries, and the shift of an alias to another version.
_ON_AWS_ONLY = ("AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Logs::QueryDefinition")


def install() -> None:
    """Make `Ref` of a secret its ARN, as on AWS; MiniStack returns its name. Accept resources that only AWS has.

    A table's time to live is turned on, which MiniStack ignores. The CORS rules of an HTTP API get the names that
    MiniStack reads. Alarms over several metrics are skipped: MiniStack has only alarms of one metric, and none ever
    fires.
    """
    handlers = provisioners._RESOURCE_HANDLERS
    secret, alarm = handlers["AWS::SecretsManager::Secret"], handlers["AWS::CloudWatch::Alarm"]
    create_secret, create_alarm = secret["create"], alarm["create"]
    api, table = handlers["AWS::ApiGatewayV2::Api"], handlers["AWS::DynamoDB::Table"]
    create_api, create_table = api["create"], table["create"]

    def create_with_cors(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
        rules = properties.get("CorsConfiguration") or {}
        renamed = {f"{name[0].lower()}{name[1:]}": value for name, value in rules.items()}
        created: Created = create_api(logical_id, {**properties, "CorsConfiguration": renamed}, stack)
        return created

    def create_with_arn(*arguments: Any, **options: Any) -> Created:
        _, attributes = create_secret(*arguments, **options)
        return attributes["Arn"], attributes

    def create_simple(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
        if "Metrics" in properties:
            return _nothing(logical_id, properties, stack)
        created: Created = create_alarm(logical_id, properties, stack)
        return created

    def create_with_expiry(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
        created: Created = create_table(logical_id, properties, stack)
        if expiry := properties.get("TimeToLiveSpecification"):
            dynamodb._update_ttl({"TableName": created[0], "TimeToLiveSpecification": expiry})
        return created

    api["create"] = create_with_cors
    table["create"] = create_with_expiry
    secret["create"] = create_with_arn
    alarm["create"] = create_simple
    for kind in _ON_AWS_ONLY:
        handlers[kind] = {"create": _nothing, "delete": lambda *_: None}


def _nothing(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
    return logical_id, {"Arn": f"arn:aws:none:::{logical_id}"}
