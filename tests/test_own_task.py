"""docs/tasks.md as it stands: its package is installed, served, asked and decoded, each in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
from support import ROOT
from support.minilm_model import MiniLM

PAGE = (ROOT / "docs" / "tasks.md").read_text()
FILE = re.compile(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTINGS = re.compile(r"^```toml\n(\[sentiment\].*?)^```", re.MULTILINE | re.DOTALL)
CLIENT = re.compile(r"^```python\n(import asyncio.*?)^```", re.MULTILINE | re.DOTALL)


class Installed(NamedTuple):
    """The package in a folder of its own, and a broken one beside it."""

    packages: Path

    def python(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *words], env=self.environment(**variables), capture_output=True, text=True
        )

    def command(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.python("-m", "inferstream.pipeline.cli.main", *words, **variables)

    def environment(self, **variables: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.packages), **variables}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    source, packages = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packages")
    files = dict(FILE.findall(PAGE))
    assert files.keys() == {"pyproject.toml", "inferstream_sentiment.py"}
    for name, content in files.items():
        (source / name).write_text(content)
    pip = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        packages,
    ]
    subprocess.run([sys.executable, *pip, source], check=True)
    broken = packages / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[inferstream.tasks]\nbroken = nothing_like_it:Task\n")
    return Installed(packages)


@pytest.fixture(scope="module")
def queue(installed: Installed, minilm: MiniLM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a worker that serves the task, and ours beside it."""
    folder = tmp_path_factory.mktemp("queue")
    words = ["worker", "sentiment", "embed", "--embedded", str(folder), "--no-cache"]
    process = subprocess.Popen(
        [sys.executable, "-m", "inferstream.pipeline.cli.main", *words],
        env=installed.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    serving = 0
    for line in process.stderr:
        serving += "inferstream.sentiment.requests" in line or "inferstream.embed.requests" in line
        if serving == 2:
            break
    assert serving == 2, "the worker serves both tasks"
    try:
        yield folder
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate()
        assert process.returncode == 0, rest


def test_the_task_is_listed_and_the_broken_one_beside_it_is_told(installed: Installed) -> None:
    done = installed.command("tasks", "list", "--json")
    rows = {row["task"]: row for row in json.loads(done.stdout)}
    assert rows["sentiment"]["package"] == "inferstream-sentiment"
    assert rows["sentiment"]["options"] == ["neutral"]
    assert "broken" not in rows
    assert "The task 'broken' of the package broken cannot be loaded (ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_json_schema_has_the_words_of_its_docstrings(installed: Installed) -> None:
    schemas = json.loads(installed.command("tasks", "schema", "sentiment").stdout)
    validator = jsonschema.Draft202012Validator(schemas["options"])
    assert validator.is_valid({"neutral": 0.5})
    assert not validator.is_valid({"neutral": 2})
    described = schemas["output"]["$defs"]["SentimentOutput"]["properties"]["score"]["description"]
    assert described == "from -1, angry, to 1, glad."


@pytest.mark.parametrize(
    ("command", "option", "help_text"),
    [
        ("request", "--neutral", "A text with a score nearer to 0 than this is neutral."),
        ("worker", "--glad", "Texts of glad people."),
    ],
)
def test_the_help_shows_its_options(installed: Installed, command: str, option: str, help_text: str) -> None:
    shown = " ".join(installed.command(command, "sentiment", "--help").stdout.split())
    assert option in shown
    assert help_text in shown


def test_its_settings_are_read_and_checked(installed: Installed, tmp_path: Path) -> None:
    found = SETTINGS.search(PAGE)
    assert found
    path = tmp_path / "settings.toml"
    path.write_text(found[1])
    code = (
        "import sys; from pathlib import Path; from inferstream import load_config; "
        "from inferstream_sentiment import SentimentSettings; "
        "print(load_config(Path(sys.argv[1])).of_task('sentiment', SentimentSettings).glad)"
    )
    assert installed.python("-c", code, str(path)).stdout.strip() == "('Well done!', 'Great, thank you.')"
    for text, sentence in (
        ("[sentiment]\nglad = 1\n", "sentiment.glad in {path} is 1: it must be a list; each of it a text."),
        ("[sentiment]\ngald = []\n", "has no setting sentiment.gald: did you mean 'glad'?"),
    ):
        path.write_text(text)
        done = installed.command(
            "worker", "sentiment", "--config", str(path), "--embedded", str(tmp_path / "q")
        )
        assert done.returncode == 2
        assert sentence.format(path=path) in done.stderr
    path.write_text('[broken]\nmodel = "x"\n')
    assert not installed.python("-c", code, str(path)).stderr, "the table of a broken task is left alone"
    done = installed.command(
        "worker", "sentiment", "--embedded", str(tmp_path / "q"), INFERSTREAM_SENTIMENT_MODEL="none-such"
    )
    assert done.returncode != 0
    assert "none-such" in done.stderr


def reply(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_worker_answers_it(installed: Installed, queue: Path) -> None:
    ask = ("request", "sentiment", "It is broken again!", "--embedded", str(queue), "--json")
    answer = reply(installed.command(*ask))
    assert (answer["task"], answer["output"]["sentiment"]) == ("sentiment", "angry")
    assert reply(installed.command(*ask, "--neutral", "1"))["output"]["sentiment"] == "neutral"
    assert reply(installed.command(*ask, INFERSTREAM_REQUEST_NEUTRAL="1"))["output"]["sentiment"] == "neutral"
    refused = installed.command(*ask, "--neutral", "2")
    assert refused.returncode == 2
    assert "--neutral: 2.0 is not in the range 0<=x<=1" in refused.stderr


def test_its_client_gets_its_type(installed: Installed, queue: Path, tmp_path: Path) -> None:
    found = CLIENT.search(PAGE)
    assert found
    program = tmp_path / "ask.py"
    program.write_text(found[1])
    done = installed.python(str(program), str(queue))
    assert done.stdout.startswith("glad 0."), done.stderr


def test_a_task_of_ours_is_served_beside_it(installed: Installed, queue: Path) -> None:
    ask = ("request", "embed", "It is broken again!", "--embedded", str(queue), "--json")
    assert reply(installed.command(*ask))["output"]["dimensions"] == 384


def test_the_package_asks_a_client_for_no_package_of_a_worker(installed: Installed) -> None:
    code = (
        "import sys; from inferstream.pipeline.tasks.catalogue import tasks; tasks().find('sentiment'); "
        "print([name for name in ('numpy', 'onnxruntime', 'tokenizers') if name in sys.modules])"
    )
    assert installed.python("-c", code).stdout.strip() == "[]"
