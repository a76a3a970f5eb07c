"""Test the build: what the digest depends on, what is left out for Lambda, and that bytecode is reproducible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import build, docs, sbom

PYTHON = build.runtime_python() or Path(sys.executable)
MODULE = "def answer():\n    return frozenset({'one', 'two', 'three'})\n"


def artefact(folder: Path) -> Path:
    (folder / "python" / "part").mkdir(parents=True)
    (folder / "python" / "part" / "module.py").write_text(MODULE)
    (folder / "python" / "part" / "data.json").write_text("{}")
    return folder


def test_all_files_name_the_same_python() -> None:
    template = docs.template()
    assert template["Globals"]["Function"]["Runtime"] == f"python{build.RUNTIME}"
    assert template["Resources"][build.LAYER]["Properties"]["CompatibleRuntimes"] == [f"python{build.RUNTIME}"]
    assert f"--python-version {build.RUNTIME} " in (build.ROOT / "shared" / "Makefile").read_text()


def test_sam_build_has_nothing_to_warn_of() -> None:
    """SAM takes a layer for x86_64 unless its Metadata says otherwise, and warns where its properties disagree."""
    layer = docs.template()["Resources"][build.LAYER]
    assert [layer["Metadata"]["BuildArchitecture"]] == layer["Properties"]["CompatibleArchitectures"]


def test_every_function_is_built_by_the_one_makefile() -> None:
    found = {
        name: resource
        for name, resource in docs.template()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    for name, resource in found.items():
        assert resource["Metadata"]["BuildMethod"] == "makefile", name
        assert resource["Metadata"]["ContextPath"] == "functions/", name
        assert f"functions/{name.removesuffix('Function').lower()}/" == resource["Properties"]["CodeUri"]
    assert len(found) == len(list((build.ROOT / "functions").glob("*/app.py")))


def test_a_digest_is_of_paths_and_contents_and_of_nothing_else(tmp_path: Path) -> None:
    one, other = artefact(tmp_path / "one"), artefact(tmp_path / "elsewhere" / "other")
    file = other / "python" / "part" / "module.py"
    os.utime(file, (0, 0))
    file.chmod(0o600)
    assert build.digest(one) == build.digest(other)
    file.write_text(MODULE + "\n")
    assert build.digest(one) != build.digest(other)
    file.write_text(MODULE)
    file.rename(file.with_name("renamed.py"))
    assert build.digest(one) != build.digest(other)


@pytest.mark.parametrize(
    "name", ["python/certifi/tests/test_it.py", "python/shared/Makefile", "requirements.txt", "docs/page.md"]
)
def test_what_lambda_has_no_use_for_is_found(tmp_path: Path, name: str) -> None:
    folder = artefact(tmp_path)
    assert build.misplaced(folder) == []
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    assert build.misplaced(folder) == [name]


def test_a_package_may_be_called_docs(tmp_path: Path) -> None:
    folder = artefact(tmp_path)
    package = folder / "python" / "part" / "docs" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "module.py").write_text("")
    assert build.misplaced(folder) == []


def test_bytecode_of_another_python_is_found(tmp_path: Path) -> None:
    folder = artefact(tmp_path)
    cache = folder / "python" / "part" / "__pycache__"
    cache.mkdir()
    (cache / f"module.cpython-{build.RUNTIME.replace('.', '')}.pyc").write_bytes(b"")
    assert build.misplaced(folder) == []
    (cache / "module.cpython-39.pyc").write_bytes(b"")
    assert build.misplaced(folder) == ["python/part/__pycache__/module.cpython-39.pyc"]


def test_bytecode_comes_out_the_same_in_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = artefact(tmp_path / "one"), artefact(tmp_path / "elsewhere" / "other")
    for folder, seed in ((one, "1"), (other, "2")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        build.compile_ahead(folder, PYTHON, place="/opt")
    (compiled,) = one.rglob("*.pyc")
    assert build.digest(one) == build.digest(other)
    assert b"/opt/python/part/module.py" in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()


def test_bytecode_is_used_whatever_the_time_of_its_source(tmp_path: Path) -> None:
    folder = artefact(tmp_path)
    build.compile_ahead(folder, PYTHON, place="/opt")
    os.utime(folder / "python" / "part" / "module.py", (0, 0))  # SAM's archives say 1980
    done = subprocess.run(  # noqa: S603 - this test's own code
        [PYTHON, "-v", "-S", "-c", "import part.module"],
        env={"PYTHONPATH": str(folder / "python"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "# code object from " in done.stderr
    assert f"# code object from '{folder}/python/part/__pycache__/module." in done.stderr


def test_a_module_that_does_not_compile_stops_the_build(tmp_path: Path) -> None:
    folder = artefact(tmp_path)
    (folder / "python" / "part" / "broken.py").write_text("def (")
    with pytest.raises(build.BuildFailed, match="cannot be compiled"):
        build.compile_ahead(folder, PYTHON, place="/opt")


def test_an_interpreter_that_only_says_it_is_not_chosen_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / f"python{build.RUNTIME}"
    shim.write_text("#!/bin/sh\necho 'not chosen' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert build.runtime_python() is None
    installed = tmp_path / "versions" / f"{build.RUNTIME}.1" / "bin" / f"python{build.RUNTIME}"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(PYTHON.resolve())
    assert build.runtime_python() == installed


def test_the_list_of_packages_names_what_the_layer_holds_and_no_time(tmp_path: Path) -> None:
    for name, version, licence in (
        ("one_part", "1.2", "Classifier: License :: OSI Approved :: MIT License"),
        ("Two", "3", "License-Expression: Apache-2.0 OR MIT"),
    ):
        info = tmp_path / "python" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{licence}\n")
    sbom.write(tmp_path / "python", tmp_path / "first.json")
    sbom.write(tmp_path / "python", tmp_path / "second.json")
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    document = json.loads((tmp_path / "first.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert [(part["purl"], part["licenses"]) for part in document["components"]] == [
        ("pkg:pypi/one-part@1.2", [{"license": {"name": "MIT License"}}]),
        ("pkg:pypi/two@3", [{"expression": "Apache-2.0 OR MIT"}]),
    ]
    assert "timestamp" not in document["metadata"]
