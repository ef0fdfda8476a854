"""Imports: layers, fences, relative imports, a light client. Sizes: files, constructors, rooms. Class names."""

import ast
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from support import ROOT

FOLDERS = ("schemas", "pipeline", "workers")
MAX_LINES = 250
MAX_CONSTRUCTOR_ARGUMENTS = 6
MAX_ROOM_SHARE = 0.2
"""Of all lines. A room is a folder in `pipeline`."""


def sources() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def import_contracts() -> list[dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_module_has_a_layer() -> None:
    contract = next(contract for contract in import_contracts() if contract["type"] == "layers")
    layers = " ".join(contract["layers"])  # type: ignore[arg-type]
    named = {name.strip("()") for name in layers.replace("|", " ").replace(":", " ").split()}
    modules = {
        path.relative_to(ROOT).parts[:2]
        for path in sources()
        if path.parts[-2:] != ("pipeline", "__init__.py")
    }
    for folder, module in modules:
        name = (
            f"inferstream.{folder}.{Path(module).stem}" if folder == "pipeline" else f"inferstream.{folder}"
        )
        assert name in named, f"{name} is in no layer of pyproject.toml"


def test_our_imports_are_relative() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name.partition(".")[0] for name in absolute} & {"inferstream", *FOLDERS}
            assert not ours, f"{path.relative_to(ROOT)}:{node.lineno} imports {ours} by its full name"


def test_files_stay_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


def test_the_public_names_import_no_optional_package() -> None:
    """A plain install is the client: the public names must not import packages of the extras."""
    code = """
import sys
import inferstream, inferstream.tasks
from inferstream.tasks import Contract, Loaded, More, Row, TextTask
from inferstream.pipeline.tasks.catalogue import OURS, tasks
assert all(tasks().find(one.name) is one for one in OURS)
heavy = {"numpy", "onnx", "onnxruntime", "tokenizers", "diskcache", "faust", "torch", "prometheus_client", "httpx"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """All classes, each with the path of its file."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield str(path.relative_to(ROOT)), node


def test_constructors_take_few_arguments() -> None:
    counts = {
        f"{path}: {node.name}": len([*of.posonlyargs, *of.args, *of.kwonlyargs]) - 1
        for path, node in classes()
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__" and (of := method.args)
    }
    assert len(counts) > 100, "the constructors were found"
    assert not {name: count for name, count in counts.items() if count > MAX_CONSTRUCTOR_ARGUMENTS}


def test_a_class_name_is_used_once() -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for path, node in classes():
        files[node.name].append(path)
    assert not {name: paths for name, paths in files.items() if len(paths) > 1}


def test_no_room_is_too_large() -> None:
    lines: Counter[str] = Counter()
    for path in sources():
        lines["/".join(path.relative_to(ROOT).parts[:2])] += len(path.read_text().splitlines())
    shares = {room: lines[room] / lines.total() for room in lines if room.startswith("pipeline/")}
    assert not {room: share for room, share in shares.items() if share > MAX_ROOM_SHARE}
