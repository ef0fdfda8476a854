"""`inferstream worker` and `inferstream topics`: options, settings, and the sentences for mistakes."""

import json
import logging
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from support import INFERSTREAM, ROOT

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.cli.options.settings import ADDRESS, KAFKA, PIPELINE, TOPICS, Setting, with_settings
from inferstream.pipeline.cli.options.times import Duration
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import Config, EngineConfig, KafkaConfig
from inferstream.pipeline.serving.logs import QUIET_S, Damper

GROUPS = (ADDRESS, KAFKA, TOPICS, PIPELINE)


def settings_of(*arguments: str, environment: dict[str, str] | None = None) -> Config:
    """What a command with all settings makes of these arguments."""
    seen: list[Config] = []

    @click.command(context_settings={"auto_envvar_prefix": "X"})
    @with_settings(*GROUPS, kafka=False)
    def command(config: Config) -> None:
        seen.append(config)

    result = CliRunner(env=environment).invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return seen[0]


@contextmanager
def the_log_as_it_is() -> Iterator[None]:
    """Put the handlers of the root logger back that a command has replaced."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(scope="module")
def model() -> None:
    """The model that workers serve by default; fetched once, then this takes no time."""
    subprocess.run([INFERSTREAM, "models", "pull", "minilm"], check=True, capture_output=True)


def test_without_options_the_defaults_hold() -> None:
    assert settings_of() == Config()


def test_options_override_the_file_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[engine]\nlanes = 3\ntoken_budget = 99\n[cache]\nenabled = true\n")
    config = settings_of("--config", str(path), "--lanes", "5", "--no-cache", "--kafka", "k:1")
    assert config.engine == EngineConfig(lanes=5, token_budget=99)
    assert not config.cache.enabled
    assert config.kafka == KafkaConfig(bootstrap="k:1")


def test_variables_count_more_than_the_file_and_less_than_options(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[engine]\nlanes = 3\n")
    variables = {"X_LANES": "4", "X_CONFIG": str(path)}
    assert settings_of(environment=variables).engine.lanes == 4
    assert settings_of("--lanes", "5", environment=variables).engine.lanes == 5


@pytest.mark.parametrize("setting", [one for group in GROUPS for one in group], ids=lambda one: one.path)
def test_every_setting_is_one_of_the_file(setting: Setting) -> None:
    table, _, name = setting.path.partition(".")
    assert name in msgspec.to_builtins(getattr(Config(), table))


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("2s", 2_000), ("30m", 1_800_000), ("12h", 43_200_000), ("7d", 604_800_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert Duration().convert(text, None, None) == ms


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 d", "1y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="as in 7d"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["triage", "--kafka", "k:1", "--embedded", "d"], "either --kafka or --embedded"),
        (["sorting", "--kafka", "k:1"], "There is no task 'sorting'"),
        (["triage", "--embedded", "d", "--model", "nonsense"], "There is no model 'nonsense'"),
        (["triage", "--config", "missing.toml"], "Cannot read the settings file missing.toml"),
        (["triage", "--lanes", "0"], "--lanes"),
        (["triage", "--threshold", "2"], "--threshold"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with the_log_as_it_is():
        assert run(["worker", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("Error: ") == 1


def test_without_faust_the_worker_says_what_to_install() -> None:
    without = (
        "import sys; sys.modules['faust'] = None; from inferstream.pipeline.cli.main import main; main()"
    )
    command = [sys.executable, "-c", without, "worker", "triage", "--kafka", "127.0.0.1:1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == "Error: This command needs more packages: run pip install 'inferstream[faust]'.\n"


def test_a_library_says_the_same_once_in_a_while() -> None:
    clock = FakeClock()
    damper = Damper(clock=clock)

    def said(logger: str, message: str) -> bool:
        return damper.filter(logging.LogRecord(logger, logging.ERROR, "", 0, message, None, None))

    assert said("aiokafka.producer", "no leader")
    assert not said("aiokafka.producer", "no leader")
    assert said("aiokafka.producer", "another thing")
    assert said("inferstream.pipeline", "no leader")
    assert said("inferstream.pipeline", "no leader")
    clock.advance(QUIET_S)
    assert said("aiokafka.producer", "no leader")


def test_topics_are_made_and_listed(
    kafka: str, unique: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["topics", "triage", "--kafka", kafka, "--topic-prefix", unique, "--json"]

    def rows(*more: str) -> list[tuple[str, int | None, str]]:
        assert run([*arguments, *more]) == 0
        table = json.loads(capsys.readouterr().out)
        return [
            (row["topic"].removeprefix(f"{unique}.triage."), row["partitions"], row["state"]) for row in table
        ]

    names = ("requests", "replies", "dead-letters", "retry.1s", "retry.30s")
    assert rows("--list") == [(name, None, "missing") for name in names]
    assert rows("--partitions", "3") == [(name, 3, "made") for name in names]
    assert rows("--partitions", "3") == [(name, 3, "there") for name in names]
    assert rows() == [(name, 3, "there") for name in names], "only a number that was asked for is a demand"
    assert run([*arguments, "--partitions", "5"]) == 1
    assert "has 3 of 5 partitions" in capsys.readouterr().err
    monkeypatch.setenv("INFERSTREAM_TOPICS_PARTITIONS", "4")
    assert run(arguments) == 1
    assert "has 3 of 4 partitions" in capsys.readouterr().err


def test_a_worker_over_a_folder_is_a_process_that_a_signal_ends_well(tmp_path: Path, model: None) -> None:
    command = [INFERSTREAM, "worker", "triage", "--embedded", tmp_path / "queue"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        assert any("Serving" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_all_settings_are_documented_with_their_defaults() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert msgspec.toml.decode(example, type=Config) == Config()
    with_all = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE))
    assert {table: set(names) for table, names in with_all.items()} == {
        table: set(names) for table, names in msgspec.to_builtins(Config()).items()
    }
    msgspec.convert(with_all, Config)
