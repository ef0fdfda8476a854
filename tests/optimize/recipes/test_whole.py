"""A recipe from end to end with the real minilm, in the environment that has torch; minutes.

It ends where a user's does: in a report, in a release, and in the answers of a worker that follows the alias.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.minilm_model import MiniLM

from inferstream import SyncClient
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.optimize.recipes.reading import read_recipe

pytestmark = pytest.mark.optimize
TICKETS = Path(__file__).parents[3] / "examples" / "tickets.jsonl"
PATIENCE_S = 120
MAKING = {"torch", "transformers", "sklearn", "scipy", "matplotlib", "onnx"}
RECIPE = f"""
[model]
name = "minilm"
[data]
file = "{TICKETS}"
label = "expected"
[[step]]
kind = "prune"
share = 0.6
force = true  # the rows are few: what is kept of the accuracy is told with points of error
[[step]]
kind = "static"
of = "minilm-pruned60-int8"
name = "light"
[[step]]
kind = "cascade"
of = "minilm-pruned60-int8"
name = "both"
[[step]]
kind = "evaluate"
[[step]]
kind = "gate"
thresholds = {{ min_share = 0.5 }}
[[step]]
kind = "publish"
model = "both"
"""
WORKER = """
import sys
from inferstream.pipeline.cli.main import run
status = run(["worker", *sys.argv[1:]])
print(*sys.modules)
sys.exit(status)
"""


@pytest.fixture
def home(minilm: MiniLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that has minilm alone."""
    shutil.copytree(minilm.registry.folder("minilm"), tmp_path / "home" / "models" / "minilm")
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@contextmanager
def worker(*words: str) -> Iterator[subprocess.Popen[str]]:
    """One that serves; at the end it is stopped, and has printed what it has loaded."""
    command = [sys.executable, "-c", WORKER, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr
            log: list[str] = []
            while "Serving" not in "".join(log[-1:]):
                log.append(process.stderr.readline())
                assert log[-1], "".join(log)
            yield process
        finally:
            process.kill()


def test_a_recipe_ends_in_a_report_a_release_and_answers_under_the_alias(home: Path) -> None:
    Path("recipe.toml").write_text(RECIPE)
    words = ["optimize", "recipe.toml", "--registry", "registry", "--out", "report"]
    assert run([*words, "--dry-run"]) == 0
    assert not Path("registry").exists()
    assert run(words) == 0

    report = json.loads(Path("report/report.json").read_text())
    rows = {row["name"]: row for row in report["variants"]}
    made = {"minilm-fp32", "minilm-int8", "minilm-pruned60-fp32", "minilm-pruned60-int8", "light", "both"}
    assert rows.keys() == made
    measured = made - {"minilm-pruned60-fp32"}
    for name in measured:
        assert rows[name]["gate"]["passed"], rows[name]["gate"]
        assert rows[name]["evaluation"]["speeds"], name
    assert (
        rows["light"]["size_bytes"]
        < rows["minilm-pruned60-int8"]["size_bytes"]
        < rows["minilm-int8"]["size_bytes"]
    )
    assert "To repeat it" in Path("report/report.html").read_text()

    store = open_registry("registry")
    version = store.alias("triage", "prod").stable
    release = store.release("triage", version)
    assert (release.name, release.gate and release.gate.passed) == ("both", True)
    assert any(step.startswith("recipe step both: cascade") for step in release.origin.steps)

    served = ["triage", "--embedded", "queue", "--model", "triage@prod", "--registry", "registry"]
    with worker(*served) as process:
        with SyncClient(embedded=Path("queue")) as client:
            result = client.request("triage", "I was charged twice for my order", timeout_s=PATIENCE_S)
        assert result.reply.release == version
        assert result.output.category in rows["both"]["evaluation"]["by_label"]
        process.send_signal(signal.SIGTERM)
        printed, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, log
    assert not MAKING & set(printed.split()), "torch is here, and the worker has not looked"

    assert run(["optimize", "report/recipe.toml", "--registry", "registry", "--out", "again"]) == 0
    again = json.loads(Path("again/report.json").read_text())
    assert all(step["kept"] for step in again["steps"])
    assert again["variants"] == report["variants"]
    assert read_recipe(Path("again/recipe.toml")) == read_recipe(Path("report/recipe.toml"))
