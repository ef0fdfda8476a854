"""The documented settings are the settings."""

import re
import tomllib

import msgspec
from support import ROOT

from inferstream.pipeline.tasks.settings import all_tables


def test_all_settings_are_documented_with_their_defaults() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    tables = all_tables()
    for table, values in tomllib.loads(example).items():
        assert msgspec.convert(values, tables[table]) == tables[table](), table
    with_all = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE))
    assert {table: set(names) for table, names in with_all.items()} == {
        table: {one.name for one in msgspec.structs.fields(kind)} for table, kind in tables.items()
    }
    for table, values in with_all.items():
        msgspec.convert(values, tables[table])
