"""The documented settings are the settings."""

import re
import tomllib

import msgspec
from support import ROOT

from inferstream.pipeline.config import Config


def test_all_settings_are_documented_with_their_defaults() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert msgspec.toml.decode(example, type=Config) == Config()
    with_all = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE))
    assert {table: set(names) for table, names in with_all.items()} == {
        table: set(names) for table, names in msgspec.to_builtins(Config()).items()
    }
    msgspec.convert(with_all, Config)
