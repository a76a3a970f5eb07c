"""Translate the template for tools that do not know SAM: `python -m tools.translate_template FOLDER`.

It writes `template.json`, the template for CloudFormation, and `NAME.asl.json`, each state machine with its
substitutions.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]

_LOCAL_FILES = ("CodeUri", "ContentUri", "DefinitionUri")
_BASIC = "AWSLambdaBasicExecutionRole"
_ACCOUNT = "us-east-1:123456789012"
_ARNS = {
    "AWS::Serverless::Function": f"arn:aws:lambda:{_ACCOUNT}:function:",
    "AWS::Serverless::StateMachine": f"arn:aws:states:{_ACCOUNT}:stateMachine:",
}


@cache
def template() -> dict[str, Any]:
    """Return the template for CloudFormation, with SAM's resources expanded."""
    document = _document()
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        properties.update({name: "s3://bucket/key" for name in _LOCAL_FILES if isinstance(properties.get(name), str)})
    session = boto3.session.Session(region_name="us-east-1")
    managed = {_BASIC: f"arn:aws:iam::aws:policy/service-role/{_BASIC}"}
    result: dict[str, Any] = Translator(managed, Parser(), boto_session=session).translate(document, {})
    return result


def machines() -> dict[str, dict[str, Any]]:
    """Return file name → definition of every state machine, with invented ARNs and the parameters' defaults.

    Raises:
        KeyError: A placeholder has no substitution.
        ValueError: The files under statemachine/ and the template's state machines differ.
    """
    document = _document()
    found = {}
    for resource in document["Resources"].values():
        if resource["Type"] == "AWS::Serverless::StateMachine":
            properties = resource["Properties"]
            values = {
                name: _value(value, document) for name, value in properties.get("DefinitionSubstitutions", {}).items()
            }
            text = (ROOT / properties["DefinitionUri"]).read_text("utf-8")
            text = re.sub(r"\$\{(\w+)\}", lambda match, values=values: values[match[1]], text)  # type: ignore[misc]
            found[Path(properties["DefinitionUri"]).name] = yaml.safe_load(text)
    files = {path.name for path in (ROOT / "statemachine").iterdir()}
    if files != found.keys():
        raise ValueError(f"not both in statemachine/ and in the template: {', '.join(sorted(files ^ found.keys()))}")
    return found


def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    return document


def _value(intrinsic: Any, document: dict[str, Any]) -> str:
    """Return the value of a substitution."""
    match intrinsic:
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": name} if name in document["Parameters"]:
            return str(document["Parameters"][name]["Default"])
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return f"{_ARNS[document['Resources'][name]['Type']]}{name}"
    return str(intrinsic)


def main(arguments: list[str]) -> None:
    """Write the files into the given folder."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    documents = {"template.json": template()}
    documents |= {name.replace(".yaml", ".json"): machine for name, machine in machines().items()}
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
