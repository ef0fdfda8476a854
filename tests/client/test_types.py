"""The types of the client, as a user's mypy sees them."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT
from support.overloads import ASYNC, SYNC, Method, with_overloads

from inferstream.pipeline.client import calls, map_calls, sync_calls
from inferstream.schemas.tasks import CONTRACTS

TYPED = Path(__file__).parent / "typed"
"""Programs of users."""


@pytest.mark.parametrize(("module", "methods"), [(calls, ASYNC), (map_calls, ASYNC), (sync_calls, SYNC)])
def test_the_overloads_are_those_of_the_contracts(module: ModuleType, methods: Mapping[str, Method]) -> None:
    path = Path(str(module.__file__))
    committed = path.read_text()
    made = with_overloads(committed, methods, CONTRACTS)
    path.write_text(made)
    assert made == committed, (
        f"The contracts changed: {path.name} is written again, look at it and commit it."
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the built wheel, beside the packages of this one."""
    folder = tmp_path_factory.mktemp("user")
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / "bin" / "python"


def test_mypy_finds_the_mistakes_of_a_user_and_no_others(python: Path, tmp_path: Path) -> None:
    for path in TYPED.glob("*.py"):
        shutil.copy(path, tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "client.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "page.py").write_text("\n".join(blocks))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
    options = ["--config-file=", f"--python-executable={python}", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [*command, *options, "right.py", "wrong.py", "page.py"], cwd=tmp_path, capture_output=True, text=True
    )
    said: dict[tuple[str, int], str] = {}
    for line in done.stdout.splitlines():
        if found := re.fullmatch(r"(\w+\.py):(\d+): error: (.*)", line):
            place = (found[1], int(found[2]))
            said[place] = said.get(place, "") + found[3]
    wanted = {
        ("wrong.py", number): line.partition("# E: ")[2].strip()
        for number, line in enumerate((TYPED / "wrong.py").read_text().splitlines(), 1)
        if "# E: " in line
    }
    assert said.keys() == wanted.keys(), done.stdout + done.stderr
    assert not {place: said[place] for place in wanted if wanted[place] not in said[place]}
