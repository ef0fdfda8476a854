"""Which paths a release may have."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.models.releases.paths import faults_of_paths

parts = st.one_of(
    st.sampled_from(
        ["..", ".", "", "models", "a", "A", "con", "C:", "a.txt", ".hidden", "a\\b", "nul.onnx", "~"]
    ),
    st.text(max_size=8),
)
paths = st.lists(parts, min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize(
    "path",
    [
        "../secrets",
        "models/../../secrets",
        "/etc/passwd",
        "C:/Windows/x",
        "C:x",
        "models\\..\\..\\x",
        "a//b",
        "a/./b",
        "",
        "a/",
        "a\0b",
        "a/b:stream",
        "a/NUL",
        "models/com1.json",
        "a/b.",
        "a/b ",
        "a/.hidden",
        "release.json",
        "Release.JSON",
        "a" * 500,
        "a/" + "b" * 130,
        "~/x",
        "models/é.json",
    ],
)
def test_a_path_that_may_leave_the_folder_is_refused(path: str) -> None:
    assert list(faults_of_paths([path]))


def test_the_paths_of_a_home_are_right() -> None:
    assert not list(
        faults_of_paths(
            [
                "models/all-minilm-l6-v2/int8.json",
                "models/translate-en-pt/vocab.pten.spm",
                "heads/shop/0123456789ab/head.msgpack",
                "heads/shop/current",
                "settings/triage/taxonomy.toml",
            ]
        )
    )


@pytest.mark.parametrize("two", [["a/b", "A/B"], ["a", "a/b"], ["a/b", "a"], ["a/b", "A"], ["a", "a"]])
def test_two_paths_that_cannot_be_there_both_are_refused(two: list[str]) -> None:
    assert list(faults_of_paths(two))


@given(paths)
def test_what_is_allowed_stays_below_the_folder_on_each_system(path: str) -> None:
    if list(faults_of_paths([path])):
        return
    for kind in (PurePosixPath, PureWindowsPath):
        place = kind("base") / kind(path)
        assert not place.is_absolute()
        assert ".." not in place.parts
        assert place.parts[0] == "base"
        assert len(place.parts) == len(path.split("/")) + 1
    assert Path("/base").joinpath(path).resolve().is_relative_to("/base")
