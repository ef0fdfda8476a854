"""Every option is read from the variable that the help promises, and from no other."""

import os
from collections.abc import Iterator

import click
import pytest

from inferstream.pipeline.cli.main import SUMMARIES, cli, run
from inferstream.pipeline.cli.options.variables import long_name
from inferstream.pipeline.settings.sources import setting_variables
from inferstream.pipeline.tasks.settings import all_tables, load_config
from inferstream.pipeline.tasks.translate.settings import TranslateSettings

VALUES = {
    "integer range": "40",
    "integer": "1",
    "float range": "0.5",
    "float": "0.5",
    "duration": "1h",
    "time": "1h",
    "address": "h:1",
}


def options() -> Iterator[tuple[list[str], str, click.Command, click.Option]]:
    """Each option of each command: the words of the command, its variable, the command, the option."""
    for name in SUMMARIES:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield from options_of(command, [name])


def options_of(
    command: click.Command, words: list[str]
) -> Iterator[tuple[list[str], str, click.Command, click.Option]]:
    for option in command.params:
        if isinstance(option, click.Option):
            parts = [*words, long_name(option).removeprefix("--")]
            variable = "_".join(["INFERSTREAM", *parts]).upper().replace("-", "_")
            if variable not in SETTINGS:
                yield words, variable, command, option
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from options_of(inner, [*words, name])


SETTINGS = setting_variables(all_tables())
ALL = list(options())


def value_for(option: click.Option) -> str:
    if option.is_flag:
        return "0" if option.secondary_opts else "1"
    if isinstance(option.type, click.Choice):
        return str(option.type.choices[-1])
    if isinstance(option.type, click.Path):
        return os.devnull if option.type.file_okay else "."
    if long_name(option) == "--brokers":
        return "2"
    return VALUES.get(option.type.name, "word")


@pytest.mark.parametrize(("words", "variable", "command", "option"), ALL, ids=[row[1] for row in ALL])
def test_the_documented_variable_gives_the_same_as_the_option(
    words: list[str],
    variable: str,
    command: click.Command,
    option: click.Option,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = value_for(option)
    switch = option.secondary_opts[0] if option.secondary_opts else long_name(option)
    arguments = [switch] if option.is_flag else [long_name(option), value]
    by_option = parsed(command, arguments, option)
    monkeypatch.setenv(variable, value)
    by_variable = parsed(command, [], option)
    assert by_variable == by_option or option.type.name == "time"
    assert by_variable != option.get_default(click.Context(command)) or value == str(option.default)


def parsed(command: click.Command, arguments: list[str], option: click.Option) -> object:
    """The value that the option has after parsing; required arguments do not matter."""
    context = click.Context(command, help_option_names=["-h", "--help"])
    values, _, _ = command.make_parser(context).parse_args(args=arguments)
    value, _ = option.consume_value(context, values)
    return option.process_value(context, value)


def test_a_variable_has_one_option() -> None:
    names = [row[1] for row in ALL]
    assert len(names) == len(set(names))


def test_a_variable_of_a_setting_is_of_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command and the task `translate` both have a model."""
    monkeypatch.setenv("INFERSTREAM_TRANSLATE_MODEL", "translate-pt-en-int8")
    command = cli.get_command(click.Context(cli), "translate")
    assert command
    option = next(one for one in command.params if one.name == "model")
    assert isinstance(option, click.Option)
    assert option.value_from_envvar(click.Context(command)) is None
    assert load_config().of_task("translate", TranslateSettings).model == "translate-pt-en-int8"


def test_no_variable_is_taken_for_a_misspelling_of_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _, variable, _, option in ALL:
        monkeypatch.setenv(variable, value_for(option))
    for name in SUMMARIES:
        assert run([name, "--help"]) == 0
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("INFERSTREAM_TOPICS_LIST_ONLY", "1", "INFERSTREAM_TOPICS_LIST"),
        ("INFERSTREAM_TOPICS_PARTITION", "3", "INFERSTREAM_TOPICS_PARTITIONS"),
        ("INFERSTREAM_KAFKA_PASWORD", "x", "INFERSTREAM_KAFKA_PASSWORD"),
        ("INFERSTREAM_TOPICS_TOPIC_PREFX", "x", "INFERSTREAM_TOPICS_TOPIC_PREFIX"),
    ],
)
def test_a_misspelled_variable_is_refused(
    name: str,
    value: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert run(["topics", "triage", "--list", "--kafka", "127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert sentence in error


def test_a_negated_flag_has_the_variable_of_its_positive_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_WORKER_NO_CACHE", "1")
    assert run(["worker", "triage"]) == 2
    assert "set INFERSTREAM_WORKER_CACHE=0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["worker", "kafka"])
def test_the_variables_that_kubernetes_sets_for_services_are_ignored(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for service in ("", "_WORKER", "_WORKER_WEB", "_KAFKA", "_WORKER_KAFKA"):
        monkeypatch.setenv(f"INFERSTREAM{service}_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv(f"INFERSTREAM{service}_SERVICE_PORT", "6066")
        monkeypatch.setenv(f"INFERSTREAM{service}_SERVICE_PORT_HTTP", "6066")
        monkeypatch.setenv(f"INFERSTREAM{service}_PORT", "tcp://10.0.0.1:6066")
        monkeypatch.setenv(f"INFERSTREAM{service}_PORT_6066_TCP", "tcp://[fd00::1]:6066")
        for what, value in {"PROTO": "tcp", "PORT": "6066", "ADDR": "10.0.0.1"}.items():
            monkeypatch.setenv(f"INFERSTREAM{service}_PORT_6066_TCP_{what}", value)
    assert run([command, "nonsense"]) == 2
    error = capsys.readouterr().err
    assert "INFERSTREAM" not in error
    assert "nonsense" in error


@pytest.mark.parametrize("name", ["INFERSTREAM_VERSION", "INFERSTREAM_HELP", "INFERSTREAM_TOPICS_HELP"])
def test_help_and_version_have_no_variable(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "1")
    assert run(["topics", "nonsense"]) == 2
    printed = capsys.readouterr()
    assert "no task 'nonsense'" in printed.err
    assert not printed.out


def test_a_value_from_a_variable_is_blamed_on_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_WORKER_LANES", "0")
    assert run(["worker", "triage"]) == 2
    assert "the variable INFERSTREAM_WORKER_LANES (for --lanes): 0 is not" in capsys.readouterr().err
    assert run(["worker", "triage", "--lanes", "-1"]) == 2
    assert "INFERSTREAM" not in capsys.readouterr().err
