"""Files by their names and options: formats, encodings, compression; and every byte of a bad file has a sentence."""

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.rows.cells import is_blank
from inferstream.pipeline.rows.csv_rows import Wanted
from inferstream.pipeline.rows.decoding import decoded, read_text
from inferstream.pipeline.rows.dialect import Dialect, dialect_of
from inferstream.pipeline.rows.row_file import cell_of, read_rows

WANTED = Wanted({"--text": "text"})
CSV = "text,label\nGröße,a\n"


def texts_of(path: Path, dialect: Dialect | None = None) -> list[str | None]:
    return [cell_of(path, row, "text") for row in read_rows(path, WANTED, dialect)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV.encode()),
        ("t.CSV", CSV.encode("utf-8-sig")),
        ("t.tsv", CSV.replace(",", "\t").encode()),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("T.CSV.GZ", gzip.compress(CSV.encode("utf-8-sig"), mtime=0)),
        ("t.jsonl", '{"text": "Größe"}\n'.encode()),
        ("t.JSONL", '\ufeff{"text": "Größe"}\r\n\r\n'.encode()),
        ("t.ndjson", b'{"text": "Gr\\u00f6\\u00dfe"}'),
        ("t.jsonl.gz", gzip.compress('{"text": "Größe"}\n'.encode(), mtime=0)),
        ("t.txt", "Größe\r".encode()),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert texts_of(tmp_path / name) == ["Größe"]


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"delimiter": ";"}, CSV.replace(",", ";").encode()),
        ({"delimiter": "tab"}, CSV.replace(",", "\t").encode()),
        ({"encoding": "cp1252"}, CSV.encode("cp1252")),
        ({"encoding": "latin-1"}, CSV.encode("latin-1")),
        ({"encoding": "utf-16", "delimiter": "tab"}, CSV.replace(",", "\t").encode("utf-16")),
        ({"encoding": "utf-16-le"}, CSV.encode("utf-16-le")),
        ({"encoding": "utf-16-le"}, ("\ufeff" + CSV).encode("utf-16-le")),
    ],
)
def test_options_read_other_dialects(tmp_path: Path, options: dict[str, str], content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        texts_of(path)
    told = str(error.value)
    assert "--encoding" in told if "encoding" in options else "--delimiter" in told, "the option is named"
    assert texts_of(path, dialect_of(path, **options)) == ["Größe"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("t.xlsx", {}, "save the sheet as CSV UTF-8"),
        ("t.json", {}, "one object a line"),
        ("t", {}, "add --format jsonl, csv, tsv or txt"),
        ("t.gz", {}, "add --format"),
        ("t.jsonl", {"delimiter": ";"}, "--delimiter is for CSV, and"),
        (
            "t.csv",
            {"delimiter": ";;"},
            "--delimiter is one character such as ';', or the word tab, not ';;'.",
        ),
        ("t.csv", {"delimiter": '"'}, "--delimiter is one character"),
        ("t.csv", {"encoding": "utf-88"}, "--encoding 'utf-88' is not an encoding of text"),
        ("t.csv", {"encoding": "hex"}, "--encoding 'hex' is not an encoding of text"),
        ("t.csv", {"encoding": ""}, None),
    ],
)
def test_wrong_names_and_options(name: str, options: dict[str, str], sentence: str | None) -> None:
    if sentence is None:
        assert dialect_of(Path(name), **options).encoding == "utf-8"
        return
    with pytest.raises(UsageError) as error:
        dialect_of(Path(name), **options)  # type: ignore[arg-type]
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", CSV.encode("latin-1"), "line 2 is not UTF-8 (byte 0xF6 after 2 characters)"),
        ("t.csv", b"text,label\na,b\nc,\xff\n", "line 3 is not UTF-8"),
        ("t.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2 is not UTF-8"),
        ("t.txt", b"a\n\xed\xa0\x80\n", "line 2 is not UTF-8"),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-9], "is damaged after line"),
        ("t.csv.gz", CSV.encode(), "is damaged after line 0"),
        ("t.jsonl", b"[1]\n", 'line 1 is not a JSON object such as {"text":'),
        ("t.jsonl", b'{"text": "a"\n', "line 1 is not JSON (expecting ',' delimiter at character"),
        ("t.jsonl", b"[" * 100_000, "line 1 is not JSON (it is nested too deeply)"),
        ("t.jsonl", b'{"text": ' + b"9" * 10_000 + b"}", "line 1 is not JSON (Exceeds the limit"),
        ("t.jsonl", b'{"text": {"a": 1, "a": 2}}', "line 1 has the key 'a' twice"),
        ("t.jsonl", b'{"text": "a\0b"}', "line 1 is not JSON"),
    ],
)
def test_a_bad_file_names_the_line(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        texts_of(path)
    assert sentence in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    content=st.binary(max_size=60)
    | st.text('ab,"\n\r\0\ufeffé;', max_size=40).map(lambda text: text.encode()),
    name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.txt", "t.csv.gz"]),
    encoding=st.sampled_from([None, "utf-16", "utf-16-le", "cp1252", "utf-8-sig", "shift-jis", "utf-7"]),
    header=st.booleans(),
)
def test_whatever_the_bytes_are_there_are_rows_or_a_sentence(
    tmp_path: Path, content: bytes, name: str, encoding: str | None, header: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(b"text\n" * header + content)
    with suppress(UsageError):  # nothing else may be raised
        for text in texts_of(path, dialect_of(path, encoding=encoding)):
            assert text is None or text.encode()


def test_an_encoding_has_many_names_and_a_mark_contradicts_another(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(CSV.encode("utf-8-sig"))
    for name in ("utf8", "UTF-8", "utf-8-sig", "u8"):
        assert texts_of(path, dialect_of(path, encoding=name)) == ["Größe"]
    with pytest.raises(UsageError, match="begins with the byte order mark of UTF-8: leave out --encoding"):
        texts_of(path, dialect_of(path, encoding="cp1252"))


def test_the_text_of_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes("\ufeffa = 'ö'\n".encode())
    assert read_text(path, "the settings file") == "a = 'ö'\n"
    with pytest.raises(
        UsageError, match=r"^It is not UTF-8: line 2 has the byte 0xF6 \(offset 3\): save it as UTF-8"
    ):
        decoded(b"a\nb\xf6", "It")
    with pytest.raises(UsageError, match="looks like UTF-16"):
        decoded("a = 1".encode("utf-16"), "It")
    with pytest.raises(UsageError, match=r"Cannot read the settings file: No such file"):
        read_text(tmp_path / "gone", "the settings file")


def test_blank_means_that_nothing_shows() -> None:
    assert all(map(is_blank, ["", " \t", "\u200b\u200d", "\x00\x07", "\u2028\u00a0", "\u202e"]))
    assert not any(map(is_blank, ["a", "\u200ba", "?", "😀", "ไม่"]))
