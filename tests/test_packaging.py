"""The wheel has the three folders below the import name `inferstream`, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    hatchling = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    return folder


def wheel_of(folder: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_wheel_has_every_source_once(built: Path) -> None:
    with wheel_of(built) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {
        f"inferstream/{path.relative_to(ROOT)}"
        for folder in ("schemas", "pipeline", "workers")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"inferstream/{name}" for name in ("__init__.py", "py.typed", "tasks.py", "testing.py")}
    assert packed == wanted


def test_wheel_metadata_has_entry_points_and_license(built: Path) -> None:
    with wheel_of(built) as wheel:
        metadata = {
            Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name
        }
    assert "inferstream = inferstream.pipeline.cli.main:main" in metadata["entry_points.txt"]
    assert "[inferstream.hosts]" in metadata["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in metadata["METADATA"]
    assert "Apache License" in metadata["LICENSE"]


def test_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(again, cwd=source, check=True, capture_output=True)
    with wheel_of(built) as first, wheel_of(tmp_path / "dist") as second:
        assert {info.filename: info.CRC for info in first.infolist() if "dist-info" not in info.filename} == {
            info.filename: info.CRC for info in second.infolist() if "dist-info" not in info.filename
        }


def test_installed_wheel_works_outside_of_the_checkout(built: Path, tmp_path: Path) -> None:
    with wheel_of(built) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, 'site'); import inferstream.schemas.messages as m; print(m.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env={}
    )
    assert Path(done.stdout.strip()) == tmp_path / "site" / "inferstream/schemas/messages.py"
    shutil.rmtree(tmp_path / "site")
