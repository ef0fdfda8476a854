"""Settings are checked when they are loaded: one sentence with the name, the value and what it may be."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.config import Config, KafkaConfig
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.settings.sources import Given, setting_variables
from inferstream.pipeline.tasks.settings import all_tables, load_config

TABLES = all_tables()
NAMES = [f"{table}.{one.name}" for table, kind in TABLES.items() for one in structs.fields(kind)]
WRONG: dict[type, list[Any]] = {
    int: [-2, 10**30, 1.5, "1", True, [], float("inf")],
    float: [-1, float("nan"), float("inf"), "1", True, []],
    str: [1, True, [], ""],
    bool: [1, "yes", []],
    list: [1, "word", [-1], [""], [[]]],
    tuple: [1, "word", [-1], [""], [[]]],
    dict: [1, "word", ["a"], {"a": 1}, {"a": ""}, {"": "a"}],
}


def default_of(name: str) -> Any:
    table, _, setting = name.partition(".")
    return getattr(TABLES[table](), setting)


def type_of(name: str) -> type:
    examples = {"kafka.partitions": 1, "engine.lanes": 1, "engine.token_budget": 1, "triage.threshold": 0.5}
    examples |= {"registry.memory_bytes": 1, "classify.threshold": 0.5}
    value = examples.get(name, default_of(name))
    return str if value is None else type(value)


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "settings.toml"
    path.write_text(text, "utf-8")
    return load_config(path, environment={})


def refused(name: str, value: object) -> str:
    with pytest.raises(UsageError) as raised:
        load_config(None, {name: Given(value, f"{name} here")}, environment={})
    return str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_refuses_what_it_cannot_be(name: str) -> None:
    for value in WRONG[type_of(name)]:
        said = refused(name, value)
        assert said.startswith(f"{name} here is "), said
        assert ": it must be " in said
        assert "\n" not in said


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_takes_its_default(name: str) -> None:
    default = default_of(name)
    needs = {"kafka.sasl_mechanism"}  # without a user it has no meaning
    if default is not None and name not in needs:
        config = load_config(None, {name: Given(default, "here")}, environment={})
        assert structs.replace(config, tasks={}) == Config()
        assert all(config.of_task(task, TABLES[task]) == TABLES[task]() for task in config.tasks)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[cache]\nmemory_bytes = -1",
            "cache.memory_bytes in {path} is -1: it must be a whole number of bytes",
        ),
        (
            "[window]\nmax_in_flight = 0",
            "window.max_in_flight in {path} is 0: it must be a whole number from 1",
        ),
        ("[engine]\nlanes = 0", "engine.lanes in {path} is 0: it must be a whole number from 1"),
        ("[engine]\nlanes = 1_000_000", "is 1000000: it must be a whole number from 1 to 1024."),
        ("[kafka]\nreplication = 40_000", "is 40000: it must be a whole number from 1 on"),
        ("[kafka]\nreplication = 0", "is 0: it must be a whole number from 1 on"),
        ("[kafka]\npartitions = 1_000_000", "it must be a whole number from 1 to 100000."),
        ("[breaker]\nshare = 1.5", "is 1.5: it must be a number from 0 to 1."),
        ("[retries]\ntiers_s = [1, 0]", "is [1, 0]: it must be a list; each of it a whole number from 1"),
        (
            '[kafka]\nsecurity_protocol = "sasl_ssl"',
            "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, in capital",
        ),
        ('[kafka]\nsasl_mechanism = "OAUTHBEARER"', "(OAUTHBEARER needs a source of tokens"),
        ('[kafka]\nusername = "u"', "is set, but kafka.security_protocol is PLAINTEXT, which has no users"),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"', "is SASL_SSL, which needs a user: set kafka.username"),
        (
            '[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "u"',
            "needs a password: set kafka.password_file, or the variable INFERSTREAM_KAFKA_PASSWORD.",
        ),
        ('[kafka]\nca_file = "x"', "which has no encryption: set it to SSL or SASL_SSL"),
        ('[kafka]\nsecurity_protocol = "SSL"\nkey_file = "x"', "is set without kafka.cert_file"),
        ("[kafka]\nheartbeat_ms = 6000", "several heartbeats must fit into a session"),
        ('[kafka]\nbootstrap = "h:99999"', "a port is a number from 1 to 65535"),
        ("[kafka]\nretention_ms = 0", "from 1 on, or -1 for no limit"),
        ('[kafka]\ntopic_prefix = "a b"', "as the names of topics are"),
        ('[kafka]\nbootsrap = "x"', "has no setting kafka.bootsrap: did you mean 'bootstrap'?"),
        ("[kafka]\nxyzzy = 1", "has no setting kafka.xyzzy: there is: bootstrap, "),
        ("[kafka]\nlanes = 1", "has 'lanes' in the table [kafka]: it belongs in [engine]."),
        ("lanes = 1", "has 'lanes' outside of its table: write it below [engine]."),
        ("[kafak]", "has no table of settings 'kafak': did you mean 'kafka'?"),
        ("kafka = 1", "kafka in {path} is no table"),
        ("[kafka", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        load(tmp_path, text)
    assert sentence.format(path=tmp_path / "settings.toml") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    for content in (b"\xff\xfe[\x00k\x00", b"\x00" * 100, b"[kafka]\nbootstrap = '\xe9'"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"The settings file .*(is not TOML|UTF-16|UTF-8)"):
            load_config(path)
    with pytest.raises(UsageError, match="Cannot read the settings file"):
        load_config(tmp_path)


SECRETS = '[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "u"\n'


def test_secrets_come_from_variables_and_files(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(SECRETS)
    assert load_config(path, environment={"INFERSTREAM_KAFKA_PASSWORD": "s"}).kafka.password == "s"
    config = load_config(path, environment={"INFERSTREAM_KAFKA_PASSWORD_FILE": "/run/secret"})
    assert config.kafka.password_file == "/run/secret"
    both = {"INFERSTREAM_KAFKA_PASSWORD_FILE": "/run/secret", "INFERSTREAM_KAFKA_PASSWORD": "s"}
    with pytest.raises(
        UsageError, match=r"variable INFERSTREAM_KAFKA_PASSWORD and kafka.password_file are both set"
    ):
        load_config(path, environment=both)


@pytest.mark.parametrize("name", ["kafka.password", "kafka.key_password"])
def test_a_secret_is_not_shown(name: str) -> None:
    assert "4711" not in refused(name, 4711)


def test_an_option_overrides_a_variable_which_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[engine]\nlanes = 1\nmax_rows = 1\ntoken_budget = 1\n")
    variables = {
        "INFERSTREAM_ENGINE_LANES": "2",
        "INFERSTREAM_ENGINE_MAX_ROWS": "2",
        "INFERSTREAM_CACHE_ENABLED": "",
    }
    engine = load_config(path, {"engine.lanes": Given(3, "--lanes")}, variables).engine
    assert (engine.lanes, engine.max_rows, engine.token_budget) == (3, 2, 1)


@pytest.mark.parametrize(("variable", "name"), setting_variables(TABLES).items())
def test_every_setting_has_a_variable_that_is_blamed(variable: str, name: str) -> None:
    wrong = {str: "", list: "-1" if "tiers" in name else "", tuple: ""}.get(type_of(name), "nonsense")
    if not wrong:
        return
    with pytest.raises(UsageError) as raised:
        load_config(None, environment={variable: wrong})
    assert str(raised.value).startswith(f"The variable {variable} is "), raised.value


def test_values_of_variables_have_the_types_of_the_settings() -> None:
    config = load_config(
        None,
        environment={
            "INFERSTREAM_CACHE_ENABLED": "false",
            "INFERSTREAM_RETRIES_TIERS_S": "1, 2 3",
            "INFERSTREAM_RETRIES_IN_PLACE_S": "2",
            "INFERSTREAM_LIMITS_REPLY_TOPICS": "a.*,b",
            "INFERSTREAM_KAFKA_BOOTSTRAP": "h1:1, h2",
            "INFERSTREAM_KAFKA_TOPIC_PREFIX": "7",
        },
    )
    assert not config.cache.enabled
    assert config.retries.tiers_s == [1, 2, 3]
    assert config.retries.in_place_s == 2.0
    assert config.limits.reply_topics == ["a.*", "b"]
    assert config.kafka.bootstrap == "h1:1,h2:9092"
    assert config.kafka.topic_prefix == "7"


def test_a_command_prints_the_sentence_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[cache]\nmemory_bytes = -1\n")
    assert run(["worker", "triage", "--config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"Error: cache.memory_bytes in {path} is -1: ")
    monkeypatch.setenv("INFERSTREAM_TOPICS_KAFKA", "h:99999")
    assert run(["topics", "triage"]) == 2
    assert "the variable INFERSTREAM_TOPICS_KAFKA (for --kafka)" in capsys.readouterr().err


def test_the_structs_hold_what_the_checks_allow() -> None:
    assert msgspec.convert(msgspec.to_builtins(Config()), Config) == Config()
    assert KafkaConfig() == Config().kafka
