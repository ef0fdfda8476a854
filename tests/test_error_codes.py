"""docs/errors.md lists each code of the errors and of the decoder, and says truly whether a retry helps."""

import re
from collections.abc import Iterator

from support import ROOT

from inferstream.pipeline import errors
from inferstream.pipeline.errors import Fatal, InferstreamError, UsageError

PAGE = (ROOT / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \| ", PAGE, re.MULTILINE)


def classes(of: type[InferstreamError] = InferstreamError) -> Iterator[type[InferstreamError]]:
    if of.__module__ == errors.__name__:
        yield of
    for inner in of.__subclasses__():
        yield from classes(inner)


def test_every_code_has_one_row() -> None:
    codes = [code for code, _ in ROWS]
    assert sorted(codes) == sorted({each.code for each in classes()})


def test_rows_say_whether_a_retry_helps_or_how_a_process_ends() -> None:
    expected = {}
    for each in classes():
        ends = issubclass(each, Fatal | UsageError)
        status = "2" if issubclass(each, UsageError) else "1"
        expected[each.code] = status if ends else ("yes" if each.retryable else "no")
    assert dict(ROWS) == expected


def test_codes_of_the_decoder_are_codes_of_the_errors() -> None:
    text = "".join(path.read_text() for path in (ROOT / "schemas").glob("*.py"))
    used = set(re.findall(r'DecodeError\(\s*"(\w+)"', text))
    assert used
    assert used <= {each.code for each in classes()}
