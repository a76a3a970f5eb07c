"""Resolve the template's conditions for given parameters, as CloudFormation does when it deploys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools import translate_template as plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_ABSENT = {"Ref": "AWS::NoValue"}


def deployed(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the resources that a stack with these parameters has, after SAM's transform, with each `Fn::If` decided.

    Args:
        parameters: Name → value; the others have the template's defaults.
    """
    document = plain.template()
    unknown = parameters.keys() - document["Parameters"].keys()
    if unknown:
        raise ValueError(f"The template has no parameter {', '.join(sorted(unknown))}.")
    defaults = {name: one.get("Default", "") for name, one in document["Parameters"].items()}
    resolver = _Resolver({**defaults, **parameters}, document["Conditions"])
    return {
        name: resolver.value({**resource, "Condition": None})
        for name, resource in document["Resources"].items()
        if "Condition" not in resource or resolver.holds({"Condition": resource["Condition"]})
    }


class _Resolver:
    def __init__(self, parameters: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._conditions = conditions

    def holds(self, condition: Any) -> bool:
        """Return whether a condition is true. https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html"""
        match condition:
            case {"Condition": name}:
                return self.holds(self._conditions[name])
            case {"Fn::Not": [one]}:
                return not self.holds(one)
            case {"Fn::And": parts}:
                return all(map(self.holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self.holds, parts))
            case {"Fn::Equals": [left, right]}:
                return str(self.value(left)) == str(self.value(right))
        raise ValueError(f"not a condition: {condition}")

    def value(self, document: Any) -> Any:
        """Return a part of the template with parameters inserted and each `Fn::If` and `Fn::Join` of texts decided."""
        match document:
            case {"Fn::If": [name, yes, no]}:
                return self.value(yes if self.holds({"Condition": name}) else no)
            case {"Ref": name} if name in self._parameters:
                return self._parameters[name]
            case {"Fn::Join": [separator, parts]}:
                given = self.value(parts)
                texts = isinstance(given, str) or all(isinstance(part, str) for part in given)
                return separator.join([given] if isinstance(given, str) else given) if texts else document
            case dict():
                values = {key: self.value(one) for key, one in document.items() if one is not None}
                return {key: one for key, one in values.items() if one != _ABSENT}
            case list():
                found = [self.value(one) for one in document]
                return [one for one in found if one != _ABSENT]
        return document
