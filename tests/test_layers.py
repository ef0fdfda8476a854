"""The layers and the fences hold, and every module stands behind them."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from support import ROOT

FOLDERS = ("schemas", "pipeline", "workers")


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def contracts() -> list[dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_module_has_a_layer() -> None:
    layers = " ".join(next(c for c in contracts() if c["type"] == "layers")["layers"])  # type: ignore[arg-type]
    named = {name.strip("()") for name in layers.replace("|", " ").replace(":", " ").split()}
    modules = {
        path.relative_to(ROOT).parts[:2]
        for path in sources()
        if path.parts[-2:] != ("pipeline", "__init__.py")
    }
    for folder, module in modules:
        full = f"inferstream.{folder}" + (f".{Path(module).stem}" if folder == "pipeline" else "")
        assert full in named, f"{full} is in no layer of pyproject.toml"


def test_our_imports_are_relative() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name.partition(".")[0] for name in absolute} & {"inferstream", *FOLDERS}
            assert not ours, f"{path.relative_to(ROOT)}:{node.lineno} imports {ours} by its full name"


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in sources()
        if (n := len(path.read_text().splitlines())) > 250
    }
    assert not long


def test_client_imports_nothing_heavy() -> None:
    """A plain install is the client: the public names must come without what the extras bring."""
    code = """
import sys
import inferstream
heavy = {"numpy", "onnx", "onnxruntime", "tokenizers", "diskcache", "faust", "torch", "prometheus_client", "httpx"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
