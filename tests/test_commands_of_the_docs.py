"""The commands of README, docs and help run as they stand: the real command line parses each of them."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from support import ROOT

from inferstream.pipeline.cli.main import SUMMARIES, cli

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```|((?:^    .*\n)+)", re.MULTILINE | re.DOTALL)
IN_A_SENTENCE = re.compile(r"`((?:inferstream|make|pip install) [^`]+)`")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The language and the text of each block of code."""
    for fenced in BLOCK.finditer(page.read_text()):
        yield fenced[1] or "", fenced[2] or fenced[3]


def lines_of(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        yield line.strip().removeprefix("$ ")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command that begins a line of a block, or follows a pipe or &&."""
    lines = [line for _, text in blocks(page) for line in lines_of(text)]
    lines += [words.replace("\n", " ") for words in IN_A_SENTENCE.findall(page.read_text())]
    for line in lines:
        if re.match(r"(inferstream|make|pip|echo|grep|python3|cat) ", line):
            yield from split(line)


def split(line: str) -> list[list[str]]:
    """The words of each command of the line. A separator in quotes has no blanks around it."""
    parts = [shlex.split(part, comments=True) for part in re.split(r"\s(?:\||&&|;|>)\s", line)]
    return [words for words in parts if words]


FOUND = [(page, command) for page in PAGES for command in commands(page)]


def of(program: str) -> list[Any]:
    found = [(page, command[1:]) for page, command in FOUND if command[0] == program]
    return [pytest.param(*one, id=f"{one[0].name}: {' '.join(one[1])}"[:100]) for one in found]


def top() -> click.Context:
    """The context of `inferstream`: click keeps the help option of the first one that a command is parsed in."""
    return click.Context(cli, info_name="inferstream", **cli.context_settings)


def parse(command: click.Command, words: list[str], parent: click.Context) -> None:
    """Parse the words as the command line does, without running anything. Raises click's errors."""
    name = command.name or "inferstream"
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if rest:
            _, inner, rest = command.resolve_command(context, rest)
            assert inner is not None
            parse(inner, rest, context)


@pytest.fixture(autouse=True)
def any_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of the examples need not exist here."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)


def test_there_are_commands() -> None:
    assert len(of("inferstream")) > 40
    assert len(of("make")) > 10


@pytest.mark.parametrize(("page", "words"), of("inferstream"))
def test_a_command_of_the_docs_is_parsed(page: Path, words: list[str]) -> None:
    if words[-1] in ("…", "...", "--help") or words == ["COMMAND", "--help"]:
        words = words[:-1]
    if not words:
        return
    command = cli.get_command(top(), words[0])
    assert command is not None, f"{page.name}: no command {words[0]}"
    try:
        parse(command, words[1:], top())
    except click.MissingParameter:
        assert len(words) <= 3, f"{page.name} names a command without what it needs"
    except click.UsageError as error:
        raise AssertionError(
            f"{page.name}: inferstream {' '.join(words)}: {error.format_message()}"
        ) from error


@pytest.mark.parametrize(("page", "words"), of("make"))
def test_a_target_of_the_docs_exists(page: Path, words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word and word != "TARGET"} <= set(targets), page


@pytest.mark.parametrize(("page", "words"), of("pip"))
def test_what_the_docs_install_is_in_the_checkout(page: Path, words: list[str]) -> None:
    """The package is not published yet: `pip install inferstream` would find nothing, or a stranger's."""
    assert words[0] == "install"
    for word in words[1:]:
        found = re.fullmatch(r"\.\[([\w,-]+)\]|\.|-e", word)
        assert found, f"{page.name}: {word}"
        assert set((found[1] or "cpu").split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_python_and_toml_are_read(page: Path) -> None:
    for language, text in blocks(page):
        if language == "python":
            compile(text, page.name, "exec", flags=0x2000)  # `await` at the top is allowed
        if language == "toml":
            tomllib.loads(text)


@pytest.mark.parametrize("name", SUMMARIES)
def test_examples_of_the_help_are_parsed(name: str) -> None:
    command = cli.get_command(top(), name)
    assert command is not None
    for text in [
        command.help or "",
        *(inner.help or "" for inner in getattr(command, "commands", {}).values()),
    ]:
        for line in text.splitlines():
            example = re.split(r" {3,}", line.strip())[0]
            if example.startswith(f"inferstream {name} "):
                parse(command, split(example)[0][2:], top())
