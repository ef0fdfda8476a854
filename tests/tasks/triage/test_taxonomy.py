"""Reading a taxonomy file, and the error sentence for each mistake in it."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from support import ROOT

from inferstream.pipeline.config import Config
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.settings import load_config
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy, parse_taxonomy

GOOD = """\
threshold = 0.6
priorities = ["P3", "P2", "P1"]
default_priority = "P2"

[categories.refund]
description = "money back"
route = "billing"
priority = "P1"
examples = ["refund please"]

[categories."login problem"]
description = "cannot log in"
"""


def test_all_fields_are_read() -> None:
    taxonomy = parse_taxonomy(GOOD, "t.toml")
    assert taxonomy.threshold == 0.6
    assert (taxonomy.route("refund"), taxonomy.priority("refund")) == ("billing", "P1")
    assert (taxonomy.route("login problem"), taxonomy.priority("login problem")) == ("support", "P2")
    assert taxonomy.route("login problem", "accounts") == "accounts", "a fitted model's own route"
    assert taxonomy.route("refund", "accounts") == "billing", "the file comes before it"


def test_text_blocks_are_those_of_the_category_or_the_default_ones() -> None:
    assert parse_taxonomy(GOOD, "t").text_blocks("refund") == ()
    own = GOOD.replace("examples =", 'text_blocks = ["We pay back.", "Bye."]\nexamples =')
    taxonomy = parse_taxonomy('default_text_blocks = ["Thank you."]\n' + own, "t")
    assert taxonomy.text_blocks("refund") == ("We pay back.", "Bye.")
    assert taxonomy.text_blocks("login problem") == ("Thank you.",)
    assert taxonomy.text_blocks("only fitted") == ("Thank you.",)
    none = parse_taxonomy('default_text_blocks = ["Thank you."]\n' + GOOD + "text_blocks = []", "t")
    assert none.text_blocks("login problem") == (), "none is a choice"


def test_built_in_taxonomy_is_the_example() -> None:
    example = ROOT / "examples" / "taxonomy.toml"
    assert load_taxonomy().digest == load_taxonomy(example).digest
    assert len(load_taxonomy().categories) == 14


def test_the_digest_covers_the_content_and_not_the_layout() -> None:
    digest = parse_taxonomy(GOOD, "a").digest
    assert parse_taxonomy("# a comment\n" + GOOD, "b").digest == digest
    assert parse_taxonomy(GOOD.replace("billing", "accounts"), "a").digest != digest
    assert parse_taxonomy(GOOD.replace("refund please", "refund"), "a").digest != digest


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"billing"', "7", "line 7: `categories.refund.route` is wrong: expected `str | null`, got `int`."),
        (
            "route =",
            "rout =",
            "the fields here are: description, route, priority, examples, text_blocks.",
        ),
        ('"P1"\n', '"P9"\n', "line 8: `categories.refund.priority` must be one of P3, P2, P1, not 'P9'."),
        (
            '["refund please"]',
            '["refund please", 3]',
            "line 9: `categories.refund.examples` is wrong: expected `str`",
        ),
        (
            '["refund please"]',
            '[" "]',
            "line 9: `categories.refund.examples` must not contain an empty text.",
        ),
        (
            '["refund please"]',
            f'["refund please"]\ntext_blocks = ["fine", "{"x" * 2_001}"]',
            "text_blocks` must not contain a text of more than 2000 characters; one has 2001.",
        ),
        (
            '["refund please"]',
            f"[]\ntext_blocks = {['x'] * 21}",
            "line 10: `categories.refund.text_blocks` must have at most 20 texts.",
        ),
        (
            'default_priority = "P2"',
            'default_priority = "P2"\ndefault_text_blocks = [" "]',
            "line 4: `default_text_blocks` must not contain an empty text.",
        ),
        (
            'description = "cannot log in"',
            "",
            "line 11: `categories.login problem` lacks the field `description`.",
        ),
        ('"cannot log in"', '""', "line 12: `categories.login problem.description` must not be empty."),
        ("0.6", "1.6", "line 1: `threshold` must lie between 0 and 1."),
        ("0.6", '"high"', "line 1: `threshold` is wrong: expected `float`, got `str`."),
        ("threshold = 0.6", "temperature = 0", "line 1: `temperature` must be above 0 and at most 10."),
        ('"P2", "P1"]', '"P3"]', "line 2: `priorities` must name each priority once, the lowest first."),
        ('default_priority = "P2"', "", "wrong: `default_priority` must be one of P3, P2, P1."),
        (
            "threshold",
            "treshold",
            "line 1: `treshold` is unknown; the fields here are: categories, threshold,",
        ),
        ("threshold = 0.6", "threshold = ", "is not valid TOML: Invalid value (at line 1, column 13)."),
        (
            '[categories."login problem"]\ndescription = "cannot log in"',
            "",
            "it needs at least two tables [categories.NAME]",
        ),
    ],
)
def test_the_error_names_the_line_and_the_field(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as error:
        parse_taxonomy(GOOD.replace(old, new, 1), "t.toml")
    assert sentence in str(error.value)
    assert "The taxonomy t.toml is" in str(error.value)


def test_urgency_is_checked() -> None:
    wrong = GOOD + '\n[urgency]\nurgent = ["help now"]\n'
    with pytest.raises(UsageError, match=r"line 14: `urgency` lacks the field `calm`"):
        parse_taxonomy(wrong, "t.toml")
    with pytest.raises(UsageError, match=r"line 16: `urgency.calm` must contain phrases, none of them empty"):
        parse_taxonomy(wrong + "calm = []\n", "t.toml")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the taxonomy .*absent.toml: No such file"):
        load_taxonomy(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        load_taxonomy(tmp_path / "latin.toml")


def test_the_example_settings_are_the_defaults() -> None:
    path = ROOT / "examples" / "settings.toml"
    config = load_config(path)
    assert replace(config, tasks={}) == Config()
    assert config.tasks.keys() == {"triage"}
    assert config.tasks["triage"]["taxonomy"] == "examples/taxonomy.toml"
