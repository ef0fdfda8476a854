"""CSV is read strictly: what a careful writer wrote comes back, every mistake is an error that names its line."""

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.rows.csv_rows import CsvRows, Wanted
from inferstream.pipeline.rows.row import FileRow
from inferstream.pipeline.rows.text_lines import MAX_LINE_CHARACTERS, TextLines

WANTED = Wanted({"--text": "text"}, ["id"])


def rows_of(content: str | bytes, delimiter: str = ",", wanted: Wanted = WANTED) -> list[FileRow]:
    encoded = content.encode() if isinstance(content, str) else content
    return list(CsvRows(TextLines(io.BytesIO(encoded), "t.csv"), delimiter, wanted))


def written(rows: Sequence[Sequence[str]], **how: object) -> str:
    file = io.StringIO()
    csv.writer(file, **how).writerows(rows)  # type: ignore[arg-type]
    return file.getvalue()


cell = st.text(
    st.sampled_from('ab,;"\n\r\t é😀') | st.characters(exclude_categories=["Cs"]), max_size=12
).filter(lambda text: "\0" not in text and not text.startswith("\ufeff") and "\n\ufeff" not in text)


@given(
    st.lists(st.tuples(cell, cell, cell), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(
        [("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]
    ),
)
def test_what_was_written_is_read(rows: list[tuple[str, ...]], delimiter: str, how: tuple[str, int]) -> None:
    rows = [tuple(one.replace("\ufeff", "") for one in row) for row in rows]
    content = written(
        [("id", "text", "more"), *rows], delimiter=delimiter, lineterminator=how[0], quoting=how[1]
    )
    if how[0] == "\r":  # without any LF it is a file of an old Mac
        content = content.replace("\n", " ")
        rows = [tuple(one.replace("\n", " ") for one in row) for row in rows]
    assert [tuple(row.cells or ()) for row in rows_of(content, delimiter)] == rows


@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=6), st.data())
def test_a_quote_too_many_never_changes_what_is_read(
    rows: list[tuple[str, ...]], data: st.DataObject
) -> None:
    """One more quote anywhere: the reader refuses the file, or the texts are those that the file has now."""
    content = written([("id", "text"), *rows], quoting=csv.QUOTE_MINIMAL)
    at = data.draw(st.integers(0, len(content)))
    planted = content[:at] + '"' + content[at:]
    try:
        found = [tuple(row.cells or ()) for row in rows_of(planted)]
    except UsageError:
        return
    # Accepted: then it is strictly CSV, so a writer that quotes all writes the same cells again.
    assert found == [tuple(row.cells or ()) for row in rows_of(written([("id", "text"), *found]))]
    assert planted.count('"') % 2 == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "id,text\n1,a\n2,Hello, world\n",
            "line 3 has 3 cells, and the header has 2: put a text that contains commas",
        ),
        (
            'id,text\n1,a\n2,"never closed\n3,c\n4,d\n',
            "line 3 begins a cell with a quote that is never closed",
        ),
        (
            'id,text\n1,"never closed\n2,b\n3,"nor this\n4,d\n',
            "line 2 has a quote that is closed before its cell ends",
        ),
        ('id,text\n1,"a "quoted" word"\n', "line 2 has a quote that is closed before its cell ends"),
        ('id,text\n1,a 5" pipe\n', "line 2 has a quote inside of the cell 'a 5\" pipe'"),
        ('id,text\n1,b\n2, "after a space"\n', "line 3 has a quote inside of the cell"),
        ('id,text\n1,"escaped \\" as in C"\n', "line 2 has a quote that is closed before its cell ends"),
        ("id,text\n1,a\rb\n", "line 2 has a line break inside of a cell that is not in quotes"),
        ("id,text\n1\n", "line 2 has 1 cell, and the header has 2: add the missing cells"),
        ("id,text\n1,a\n\n\n2\n", "line 5 has 1 cell"),
        ('id,text\n1,"two\nlines"\n2\n', "line 4 has 1 cell"),
        ("text,text\na,b\n", "line 1 has the column 'text' 2 times: rename all but one"),
        ("id,text,id\na,b,c\n", "line 1 has the column 'id' 2 times"),
        ("id,text\n1,a\0b\n", "line 2 has a NUL byte"),
        ("", "t.csv is empty: the first line names the columns."),
        ("\n\n", "t.csv is empty"),
        ("id;text\n1;a\n", "looks separated by semicolons: add --delimiter ';'."),
        ("id\ttext\n1\ta\n", "looks separated by tabs: add --delimiter tab."),
        ("id|text\n1|a\n", "looks separated by vertical bars: add --delimiter '|'."),
        ("sep=;\nid;text\n1;a\n", "line 1 says that the delimiter is ';': add --delimiter ';'"),
        ("Id,Text\n1,a\n", "has no column 'text'; name the right one with --text: Id, Text."),
        (
            b"id,text\n1,a\n".decode().encode("utf-16"),
            "looks like UTF-16: save it as UTF-8, or add --encoding utf-16 ",
        ),
        (
            "id,text\n1,a\n".encode("utf-16-le"),
            "looks like UTF-16: save it as UTF-8, or add --encoding utf-16-le",
        ),
        (
            "id,text\n1,a\n".encode("utf-16-be"),
            "looks like UTF-16: save it as UTF-8, or add --encoding utf-16-be",
        ),
        (b"PK\x03\x04rest", "is an Excel workbook or a zip archive: save the sheet as CSV UTF-8"),
        (b"\x1f\x8brest", "is compressed with gzip: give it a name that ends in .gz"),
        (
            "id,text\n1,größe\n".encode("latin-1").replace(b"text", b"t\xe9xt"),
            "line 1 is not UTF-8 (byte 0xE9",
        ),
    ],
)
def test_a_mistake_names_its_line_and_what_to_do(content: str | bytes, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        rows_of(content)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("content", "delimiter", "texts"),
    [
        ("\ufeffid,text\r\n1,a\r\n", ",", ["a"]),
        ("id,text\r1,a\r2,b", ",", ["a", "b"]),
        ("sep=;\r\nid;text\r\n1;a, b\r\n", ";", ["a, b"]),
        ('"sep=;"\r\nid;text\r\n1;a\r\n', ";", ["a"]),
        (",text,label\n0,a,x\n", ",", ["a"]),  # pandas writes its index without a name
        ("text,,\na,,\n,,\n", ",", ["a", ""]),  # Excel keeps empty columns and rows
        ("Comment,text,Comment\n1,a,2\n", ",", ["a"]),  # twice, and not asked for
        ("text\n\na\n\n", ",", ["a"]),
        ('text\n""\n', ",", [""]),
        ('text\n"a ""quoted"" word"\n"""whole"""\n', ",", ['a "quoted" word', '"whole"']),
        ("text\n" + "x" * 200_000 + "\n", ",", ["x" * 200_000]),
    ],
)
def test_what_excel_and_pandas_write_is_read(content: str, delimiter: str, texts: list[str]) -> None:
    assert [row.values["text"] for row in rows_of(content, delimiter)] == texts


def test_a_row_has_the_number_of_its_first_line() -> None:
    assert [row.line for row in rows_of('text\n"a\nb\nc"\n\nd\n')] == [2, 6]


def test_memory_for_a_file_without_lines_is_bounded() -> None:
    with pytest.raises(UsageError, match=rf"line 2 is longer than {MAX_LINE_CHARACTERS:,} characters"):
        rows_of("text\n" + "x" * (MAX_LINE_CHARACTERS + 1))
    with pytest.raises(UsageError, match="line 2 begins a cell of more than"):
        rows_of('text\n"' + "x\n" * (MAX_LINE_CHARACTERS // 2 + 1))
