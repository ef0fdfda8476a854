"""Options that override environment variables, which override the settings file."""

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from inferstream.pipeline.cli.options.settings import ADDRESS, KAFKA, PIPELINE, TOPICS, Setting, with_settings
from inferstream.pipeline.cli.options.variables import name_variables
from inferstream.pipeline.config import Config, EngineConfig, KafkaConfig

GROUPS = (ADDRESS, KAFKA, TOPICS, PIPELINE)


def config_of(*arguments: str, environment: dict[str, str] | None = None) -> Config:
    """The config that a command with all settings gets for these arguments."""
    configs: list[Config] = []

    @click.command()
    @with_settings(*GROUPS, kafka=False)
    def command(config: Config) -> None:
        configs.append(config)

    name_variables(command, "test")
    result = CliRunner(env=environment).invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return configs[0]


def test_without_options_the_defaults_hold() -> None:
    assert config_of() == Config()


def test_options_override_the_file_and_keep_its_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[engine]\nlanes = 3\ntoken_budget = 99\n[cache]\nenabled = true\n")
    config = config_of("--config", str(path), "--lanes", "5", "--no-cache", "--kafka", "k:1")
    assert config.engine == EngineConfig(lanes=5, token_budget=99)
    assert not config.cache.enabled
    assert config.kafka == KafkaConfig(bootstrap="k:1")


def test_variables_override_the_file_and_options_override_variables(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[engine]\nlanes = 3\n")
    variables = {"INFERSTREAM_TEST_LANES": "4", "INFERSTREAM_TEST_CONFIG": str(path)}
    assert config_of(environment=variables).engine.lanes == 4
    assert config_of("--lanes", "5", environment=variables).engine.lanes == 5


@pytest.mark.parametrize("setting", [one for group in GROUPS for one in group], ids=lambda one: one.path)
def test_every_option_overrides_a_setting_that_exists(setting: Setting) -> None:
    table, _, name = setting.path.partition(".")
    assert name in msgspec.to_builtins(getattr(Config(), table))
