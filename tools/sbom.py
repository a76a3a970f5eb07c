"""List the layer's packages in CycloneDX, each with its version, licence and package URL.

It reads the metadata of the packages in the built layer, so it lists the deployed packages, not the requested ones. The
file contains no time and no machine: the same layer gives the same file.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from pathlib import Path

    from cyclonedx.model.license import License

PROJECT = "genviral-video-pipeline"
_NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # for URLs: RFC 9562, appendix A


def write(packages: Path, target: Path) -> None:
    """Write the list.

    Args:
        packages: The layer's folder of Python packages.
        target: The file; an existing one is replaced.
    """
    found = importlib.metadata.distributions(path=[str(packages)])
    components = sorted(map(_component, found), key=lambda component: component.name)
    names = " ".join(str(component.purl) for component in components)
    project = Component(name=PROJECT, type=ComponentType.APPLICATION, bom_ref=PROJECT)
    bom = Bom(components=components, serial_number=uuid5(_NAMESPACE, names), metadata=BomMetaData(component=project))
    bom.register_dependency(project, components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]
    target.write_text(json.dumps(document, indent=2) + "\n")


def _component(package: importlib.metadata.Distribution) -> Component:
    name = re.sub(r"[-_.]+", "-", package.name).lower()  # as in package URLs and on the index
    return Component(
        name=name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}=={package.version}",
        purl=PackageURL("pypi", None, name, package.version),
        licenses=_licenses(package),
    )


def _licenses(package: importlib.metadata.Distribution) -> list[License]:
    """Return a package's licences: its expression, or else its classifiers."""
    make = LicenseFactory().make_from_string
    expressions: list[str] = package.metadata.get_all("License-Expression", [])
    kinds = [kind for kind in package.metadata.get_all("Classifier", []) if kind.startswith("License ::")]
    classified = sorted({kind.rpartition(" :: ")[2] for kind in kinds})
    return list(map(make, expressions[:1] or classified or package.metadata.get_all("License", ["unknown"])))
