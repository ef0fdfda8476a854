"""The command line imports lazily, ends with the right status, and prints no traceback for a mistake of the user."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
from support import INFERSTREAM, ROOT

from inferstream.pipeline.cli import main as cli_main
from inferstream.pipeline.cli.main import SUMMARIES, cli, run
from inferstream.pipeline.errors import BrokerError, InferstreamError, UnknownModel, UsageError
from inferstream.pipeline.extras import EXTRAS


def sqlite_full() -> sqlite3.Error:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        try:
            connection.execute("CREATE TABLE t (x)")
        except sqlite3.Error as error:
            return error
    raise AssertionError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], int]:
    """Run a command that raises the given error; the exit status."""

    def run_failing(error: Exception) -> int:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda self, ctx, name: command)
        return run(["failing"])

    return run_failing


def test_commands_and_summaries_are_the_same() -> None:
    folder = ROOT / "pipeline/cli/commands"
    found = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    assert found - {"__init__"} == {name.replace("-", "_") for name in SUMMARIES}


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: inferstream " + name in capsys.readouterr().out


def test_every_help_works_in_a_plain_install() -> None:
    """A plain install is the client: it has none of the packages of the extras."""
    code = """
import sys
from inferstream.pipeline.extras import EXTRAS
sys.modules.update(dict.fromkeys(EXTRAS))
from inferstream.pipeline.cli.main import SUMMARIES, run
for name in SUMMARIES:
    assert run([name, "--help"]) == 0, name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_every_package_of_an_extra_is_known_by_its_module() -> None:
    """Otherwise a plain install shows a traceback in place of the extra to install."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    modules = {
        re.sub(r"[-_.]+", "-", package).lower(): module
        for module, packages in packages_distributions().items()
        for package in packages
        if module in EXTRAS
    }
    wanted = {
        re.split(r"[<>=\[]", line)[0]
        for extra in ("cpu", "faust", "fit", "bench", "kafka-local")
        for line in extras[extra]
    }
    assert wanted <= modules.keys()


@pytest.mark.parametrize("name", ["dead-letters", "models", "triage"])
def test_the_summaries_of_a_group_fit_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_option_is_explained(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command
    commands = [*command.commands.values()] if isinstance(command, click.Group) else [command]
    options = [option for each in commands for option in each.params if isinstance(option, click.Option)]
    assert not [option.name for option in options if not option.help]


def test_help_imports_no_command() -> None:
    code = """
import sys
from inferstream.pipeline.cli.main import run
run(["--help"])
run(["--version"])
heavy = {"numpy", "onnxruntime", "aiokafka", "jgo", "faust", "httpx"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (UsageError("Name a file."), 2, "Name a file."),
        (UnknownModel("There is no model m."), 2, "There is no model m."),
        (BrokerError("No broker answers."), 1, "No broker answers."),
        (UsageError("m.gguf has \x1b[2J\x9b."), 2, "m.gguf has \\x1b[2J\\x9b."),
        (UsageError(f"m.gguf has {'n' * 5_000_000}; import another."), 2, "nnn; import another."),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [InferstreamError("It broke.")])]), 1, "It broke."),
        (FileNotFoundError(2, "No such file", "a.csv"), 1, "Cannot use a.csv: No such file."),
        (OSError(28, "No space left on device"), 1, "Cannot write the output or a file: No space left"),
        (
            FileNotFoundError(2, "No usable temporary directory found"),
            1,
            "No usable temporary directory found",
        ),
        (sqlite_full(), 1, "database or disk is full"),
        (ModuleNotFoundError("x", name="onnxruntime.capi"), 1, "pip install '.[cpu]'"),
        (ModuleNotFoundError("x", name="faust"), 1, "pip install '.[faust]'"),
    ],
)
def test_an_error_prints_one_sentence(
    error: Exception,
    status: int,
    sentence: str,
    failing: Callable[[Exception], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failing(error) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert len(printed.err) < 3_000


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        ModuleNotFoundError("x", name="inferstream.removed"),
        OSError("?"),
        sqlite3.OperationalError(),
    ],
)
def test_a_defect_is_not_hidden(error: Exception, failing: Callable[[Exception], int]) -> None:
    with pytest.raises(type(error)):
        failing(error)


def test_an_interrupted_command_exits_with_130(failing: Callable[[Exception], int]) -> None:
    assert failing(click.Abort()) == 130


def test_a_group_of_different_errors_is_a_defect(failing: Callable[[Exception], int]) -> None:
    with pytest.raises(ExceptionGroup):
        failing(ExceptionGroup("two", [BrokerError("a"), ValueError("b")]))


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nonsense"]) == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["topic"], "topics"),
        (["dead_letters"], "dead-letters"),
        (["models", "lst"], "list"),
        (["Worker"], "worker"),
    ],
)
def test_a_misspelled_command_is_suggested(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["worker"], ["models", "list"], ["dead-letters", "triage", "purge"]])
def test_h_is_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "-h"]) == 0
    assert "Usage: inferstream" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error() -> None:
    program = f"{sys.executable} -m inferstream.pipeline.cli.main --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 1)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["triage", "check"],
        ["triage", "check", "--json"],
        ["topics", "--help"],
        ["models", "list"],
    ],
)
def test_a_full_disk_behind_the_output_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("inferstream")
    environment = os.environ | {"INFERSTREAM_HOME": str(tmp_path)}
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [program, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert done.returncode == 1
    assert done.stderr == "Error: Cannot write the output or a file: No space left on device.\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=lambda environment: next(iter(environment.values())),
)
def test_an_output_that_cannot_hold_our_text_gets_escapes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    taxonomy = tmp_path / "t.toml"
    taxonomy.write_text(
        '[categories."größe → ✓"]\ndescription = "a"\n[categories.b]\ndescription = "b"\n', "utf-8"
    )
    program = Path(sys.executable).with_name("inferstream")
    done = subprocess.run(
        [program, "triage", "check", taxonomy],
        capture_output=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u2713" in done.stdout
    done = subprocess.run([program, "größe→"], capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_full_disk_behind_both_outputs_has_the_same_status() -> None:
    program = Path(sys.executable).with_name("inferstream")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        assert subprocess.run([program, "triage", "check"], stdout=full, stderr=full).returncode == 1
        assert subprocess.run([program, "topics", "nonsense"], stdout=full, stderr=full).returncode == 2


def test_options_are_read_from_environment_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_KAFKA_BROKERS", "77")
    assert run(["kafka"]) == 2
    assert "INFERSTREAM_KAFKA_BROKERS (for --brokers)" in capsys.readouterr().err


UNREACHABLE = [
    ["request", "triage", "text"],
    ["topics", "triage", "--list"],
    ["topics", "triage"],
    ["audit", "triage"],
    ["dead-letters", "triage", "list"],
    ["dead-letters", "triage", "show", "0/1"],
    ["dead-letters", "triage", "replay", "--code", "internal", "--yes"],
    ["dead-letters", "triage", "purge", "0/1", "--yes"],
]


def assert_unreachable(command: list[str], address: str) -> None:
    done = subprocess.run(
        [INFERSTREAM, *command, "--kafka", address],
        capture_output=True,
        text=True,
        env=os.environ | {"INFERSTREAM_KAFKA_CONNECT_TIMEOUT_MS": "1000"},
        timeout=60,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: Cannot reach Kafka")
    assert address in done.stderr


@pytest.mark.parametrize("command", UNREACHABLE)
def test_a_refused_connection_prints_one_sentence(command: list[str]) -> None:
    assert_unreachable(command, "127.0.0.1:1")


@pytest.mark.parametrize("command", [["audit", "triage"], ["dead-letters", "triage", "list"]])
def test_a_broker_that_never_answers_prints_one_sentence(command: list[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert_unreachable(command, f"127.0.0.1:{server.getsockname()[1]}")
