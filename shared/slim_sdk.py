"""Reduce botocore's descriptions of AWS to the services that the functions call: a step of the layer's build.

botocore contains 400 services. Before its first call, a process lists their folders, reads the regions of all of them,
and then the whole documentation of the service that it calls. Nothing that a call needs is removed, and no operation:
botocore itself makes further calls (for example for a bucket's region after a redirect). Only the build runs this; it
is not in the layer.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

SERVICES = ("dynamodb", "events", "s3", "secretsmanager", "sns", "stepfunctions")
"""The services that stay, by botocore's names."""


def slim(botocore: Path) -> None:
    """Cut an installed botocore down, in place.

    Args:
        botocore: The package's folder.
    """
    data = botocore / "data"
    for folder in (path for path in data.iterdir() if path.is_dir() and path.name not in SERVICES):
        shutil.rmtree(folder)
    prefixes = {_slim_service(data / service) for service in SERVICES}
    regions = _read(data / "endpoints.json")
    for partition in regions["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in prefixes}
    _write(data / "endpoints.json", regions)


def _slim_service(folder: Path) -> str:
    """Keep the newest version of a service's description, without its texts. Returns its name among the regions."""
    *older, newest = sorted(path for path in folder.iterdir() if path.is_dir())
    for version in older:
        shutil.rmtree(version)
    for file in newest.glob("*.json.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    for file in newest.glob("examples-*.json"):
        file.unlink()
    description = _read(newest / "service-2.json")
    for part in ("operations", "shapes"):
        description[part] = _without_texts(description[part])
    _write(newest / "service-2.json", description)
    return str(description["metadata"]["endpointPrefix"])


def _without_texts(part: Any) -> Any:
    if isinstance(part, dict):
        # A member of a shape may have that name, too; it is an object.
        texts = {name for name, value in part.items() if name == "documentation" and isinstance(value, str)}
        return {name: _without_texts(value) for name, value in part.items() if name not in texts}
    return [_without_texts(value) for value in part] if isinstance(part, list) else part


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, document: object) -> None:
    file.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
