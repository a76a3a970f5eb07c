"""Test what the build keeps of botocore: the services that the code calls, unchanged, at the same addresses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from botocore.loaders import JSONFileLoader, Loader

from shared.slim_sdk import SERVICES, slim

ROOT = Path(__file__).parents[2]
FULL = Path(botocore.__file__).parent / "data"


@pytest.fixture(scope="module")
def slimmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a botocore after the build. It had an unused service before."""
    data = tmp_path_factory.mktemp("slim") / "botocore" / "data"
    data.mkdir(parents=True)
    for file in FULL.glob("*.json"):
        shutil.copy(file, data)
    for service in (*SERVICES, "polly"):
        shutil.copytree(FULL / service, data / service)
    slim(data.parent)
    return data


def session(data: Path) -> Any:
    found = botocore.session.Session()
    loader = Loader([str(data)], JSONFileLoader(), include_default_search_paths=False)
    found.register_component("data_loader", loader)
    return found


def client(of: Any, service: str, region: str = "us-east-1") -> Any:
    return of.create_client(service, region_name=region, aws_access_key_id="test", aws_secret_access_key="test")


def test_the_services_that_the_code_asks_for_are_left_and_no_others(slimmed: Path) -> None:
    files = [file for folder in ("functions", "shared") for file in (ROOT / folder).rglob("*.py")]
    asked = {name for file in files for name in re.findall(r'\bclient\("(\w+)"\)', file.read_text())}
    assert asked == set(SERVICES) == {path.name for path in slimmed.iterdir() if path.is_dir()}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1"])
def test_a_service_is_described_as_before_but_for_the_texts(slimmed: Path, service: str, kind: str) -> None:
    before, after = (
        session(data).get_component("data_loader").load_service_model(service, kind) for data in (FULL, slimmed)
    )
    assert missing(before, after) <= {"documentation"}


def missing(whole: Any, cut: Any) -> set[str]:
    """Return the names of the texts that the second lacks. Everything else must be equal."""
    if isinstance(whole, dict):
        gone = {name for name in whole if name not in cut}
        assert all(isinstance(whole[name], str) for name in gone)
        return gone.union(*(missing(whole[name], cut[name]) for name in cut))
    if isinstance(whole, list):
        return set().union(*(missing(*pair) for pair in zip(whole, cut, strict=True)))
    assert whole == cut
    return set()


@pytest.mark.parametrize("service", SERVICES)
def test_every_region_is_called_at_its_address(slimmed: Path, service: str) -> None:
    full, cut = session(FULL), session(slimmed)
    names = {name for part in full.get_available_partitions() for name in full.get_available_regions(service, part)}
    assert len(names) > 25
    for region in names:
        assert client(cut, service, region).meta.endpoint_url == client(full, service, region).meta.endpoint_url


def test_a_clients_own_parameters_and_calls_within_botocore_still_work(slimmed: Path) -> None:
    s3 = client(session(slimmed), "s3")
    assert s3.generate_presigned_post("bucket", "key")["url"] == "https://bucket.s3.amazonaws.com/"
    assert "CreateBucket" in s3.meta.service_model.operation_names
    assert s3.exceptions.NoSuchKey
