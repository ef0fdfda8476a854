"""Terms that stay or are translated so, by file and by request."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_translator import FakeTranslation, glossary_file

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.translate.glossary import Glossary, read_glossary

TERMS = {"support ticket": "pedido de ajuda", "ticket": "bilhete", "Apple": "Apple", "C++": "C++"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a ticket now", "A bilhete NOW"),
        ("a support ticket now", "A pedido de ajuda NOW"),
        ("I see a support\nticket now", "I SEE A SUPPORT\nbilhete NOW"),
        ("Ticket lost", "Bilhete LOST"),
        ("tickets, a ticketing Apple", "TICKETS, A TICKETING Apple"),
        ("an apple", "AN APPLE"),
        ("Apple", "Apple"),
        ("we use C++.", "WE USE C++."),
        ("see https://a.com/ticket/x", "SEE https://a.com/ticket/x"),
        ("ticket ticket", "bilhete bilhete"),
        ("<i>ticket</i>!", "<i>bilhete</i>!"),
    ],
)
def test_terms_are_whole_words_and_the_longest_of_them(text: str, expected: str) -> None:
    assert FakeTranslation(str.upper, TERMS)(text).text == expected
    assert FakeTranslation(str.upper)(text, glossary=TERMS).text == expected


def test_a_term_of_the_request_comes_before_that_of_the_file() -> None:
    translation = FakeTranslation(str.upper, TERMS)
    assert translation("a ticket", glossary={"ticket": "talão"}).text == "A talão"
    assert translation("a ticket").text == "A bilhete"


def test_the_terms_of_the_file_decide_the_version() -> None:
    assert FakeTranslation().task.digest != FakeTranslation(terms=TERMS).task.digest


@given(
    text=st.text("ab +ticket", max_size=30).filter(lambda text: bool(text.strip())),
    term=st.text("ab ticket", max_size=9),
)
def test_any_term_in_any_text(text: str, term: str) -> None:
    found = list(Glossary({term: "x"}).items(text))
    assert all(text[item.start : item.end].split() for item in found)
    if term.strip() and term == text:
        assert [item.text for item in found] == ["x"]


def test_a_table_has_a_line_for_each_term(tmp_path: Path) -> None:
    path = glossary_file(
        tmp_path, "term,translation,source,target\nticket,bilhete,en,pt\nbilhete,ticket,pt,en\nApple,,,\n"
    )
    assert read_glossary(path, "en", "pt") == {"ticket": "bilhete", "Apple": "Apple"}
    assert read_glossary(path, "pt", "en") == {"bilhete": "ticket", "Apple": "Apple"}
    lines = glossary_file(tmp_path, '{"term": "ticket", "translation": "bilhete"}\n', "g.jsonl")
    assert read_glossary(lines, "en", "pt") == {"ticket": "bilhete"}
    toml = glossary_file(
        tmp_path, 'Apple = ""\n[en-pt]\nticket = "bilhete"\n[pt-en]\nbilhete = "ticket"\n', "g.toml"
    )
    assert read_glossary(toml, "en", "pt") == {"ticket": "bilhete", "Apple": "Apple"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("g.csv", "word\nticket\n", "term"),
        (
            "g.csv",
            "term\n" + "x" * 101 + "\n",
            "line 2: a term has 1 to 100 characters, and this one has 101",
        ),
        ("g.csv", "term,translation\n,x\n", "line 2: a term has 1 to 100 characters"),
        (
            "g.csv",
            "term,translation\nfee,taxa\nfee,tarifa\n",
            "lines 2 and 3: 'fee' has two translations, 'taxa' and 'tarifa': keep one of them",
        ),
        (
            "g.jsonl",
            '{"term": "fee", "source": "en"}\n{"term": "fee", "translation": "taxa", "target": "pt"}\n',
            "lines 1 and 2: 'fee' has two translations",
        ),
        ("g.toml", "ticket = 1\n", "the translation of 'ticket' must be a text"),
        ("g.toml", "ticket\n", "is not TOML"),
        ("g.txt", "ticket\n", "must be .csv, .tsv, .jsonl or .toml"),
        ("g.jsonl", '{"term": ["x"]}\n', "line 1: 'term' is a list"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_glossary(glossary_file(tmp_path, content, name), "en", "pt")
    with pytest.raises(UsageError, match="Cannot read"):
        read_glossary(tmp_path / f"none-such-{name.replace('txt', 'csv')}", "en", "pt")


@pytest.mark.parametrize("first", [0, 1], ids=["the pair first", "all pairs first"])
def test_a_line_for_a_pair_comes_before_one_for_all(tmp_path: Path, first: int) -> None:
    lines = ["fee,taxa,en,pt\n", "fee,x,,\n"]
    path = glossary_file(
        tmp_path, "term,translation,source,target\n" + lines[first] + lines[1 - first] + lines[0]
    )
    assert read_glossary(path, "en", "pt") == {"fee": "taxa"}
    assert read_glossary(path, "en", "es") == {"fee": "x"}


@pytest.mark.parametrize("name", ["g.csv", "g.toml", "g.jsonl", "g.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_glossary_in_utf_16_is_told_without_an_option_that_does_not_exist(
    tmp_path: Path, name: str, encoding: str
) -> None:
    path = tmp_path / name
    path.write_text("term,translation\na,b\n", encoding)
    with pytest.raises(UsageError, match=r"looks like UTF-16: save it as UTF-8 \(in Excel") as caught:
        read_glossary(path, "en", "pt")
    assert "--encoding" not in str(caught.value)


@pytest.mark.parametrize("name", ["g.csv", "g.toml", "g.jsonl", "g.tsv"])
def test_a_glossary_of_windows_is_told_without_an_option_for_other_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("term,translation\ncafé,café\n", "cp1252")
    with pytest.raises(UsageError, match=r"line 2 is not UTF-8: save it as UTF-8 \(in Excel") as caught:
        read_glossary(path, "en", "pt")
    assert "--encoding" not in str(caught.value)


def test_a_table_as_excel_writes_it(tmp_path: Path) -> None:
    content = "\ufeffterm;translation\r\nfee, yearly;taxa, anual\r\nAcme;\r\n;\r\n"
    path = glossary_file(tmp_path, content)
    assert read_glossary(path, "en", "pt") == {"fee, yearly": "taxa, anual", "Acme": "Acme"}


@pytest.mark.parametrize(
    "head", ["Term,Translation", "term,translated", "invoice,fatura", "term|translation"]
)
def test_other_columns_are_told_by_what_is_needed(tmp_path: Path, head: str) -> None:
    path = glossary_file(tmp_path, f"{head}\na,b\n")
    with pytest.raises(UsageError, match="needs the columns term and translation, in small letters"):
        read_glossary(path, "en", "pt")
