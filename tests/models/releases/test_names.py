"""Names of aliases and versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.releases.names import (
    ReleaseName,
    is_alias,
    is_release_name,
    is_task_name,
    parse_release_name,
)


def test_an_alias_and_a_version() -> None:
    assert parse_release_name("triage@prod") == ReleaseName("triage", alias="prod")
    assert parse_release_name("triage@0123456789ab") == ReleaseName("triage", version="0123456789ab")
    assert parse_release_name("triage@deadbeefcafe").version == "deadbeefcafe", "twelve digits are a version"
    assert parse_release_name("triage@deadbeefcaf").alias == "deadbeefcaf"


@given(st.text(max_size=70))
def test_any_text_is_a_name_that_is_written_the_same_or_is_refused(text: str) -> None:
    try:
        name = parse_release_name(text)
    except UsageError:
        return
    assert str(name) == text
    assert is_release_name(text)
    assert is_task_name(name.task)
    assert bool(name.version) != is_alias(name.alias)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Triage@Prod", "did you mean 'triage@prod'"),
        ("triage@0123456789AB", "did you mean 'triage@0123456789ab'"),
        ("triage@", "write TASK@ALIAS"),
        ("@prod", "write TASK@ALIAS"),
        ("triage@a@b", "write TASK@ALIAS"),
        ("triage@../../etc", "write TASK@ALIAS"),
        ("triage@prod\n", "write TASK@ALIAS"),
        ("a" * 10_000 + "@prod", "write TASK@ALIAS"),
    ],
)
def test_a_wrong_name_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_release_name(text)
