"""Fitting on labeled tickets, and the files that they come from."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support import ROOT
from support.minilm_model import MiniLM

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.triage.draft import draft_taxonomy
from inferstream.pipeline.optimize.triage.fit import Fitted, fit, hold_out
from inferstream.pipeline.optimize.triage.labeled import Labeled, read_labeled
from inferstream.pipeline.optimize.triage.report import indices_of, measure, scored
from inferstream.pipeline.tasks.pooling import embed
from inferstream.pipeline.tasks.triage.classifier import Classifier
from inferstream.pipeline.tasks.triage.head import Head
from inferstream.pipeline.tasks.triage.taxonomy import parse_taxonomy

TICKETS = ROOT / "examples" / "tickets.jsonl"


def write_csv(folder: Path, labels: set[str]) -> Path:
    data = read_labeled(TICKETS, "text", "expected")
    path = folder / "tickets.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("subject,message,queue\n")
        for text, label in zip(data.texts, data.labels, strict=True):
            if label in labels:
                file.write('x,"' + text.replace('"', '""') + f'",{label}\n')
    return path


def fit_csv(minilm: MiniLM, path: Path) -> Fitted:
    data = read_labeled(path, "message", "queue")
    return fit(data, None, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None)


@pytest.mark.parametrize(
    "labels", [{"payment_problem", "login_problem", "delivery_status"}, {"payment_problem", "login_problem"}]
)
def test_fit_on_a_small_csv(minilm: MiniLM, tmp_path: Path, labels: set[str]) -> None:
    fitted = fit_csv(minilm, write_csv(tmp_path, labels))
    head, report, repeated, *_ = fitted
    assert repeated == 0
    assert head.labels == tuple(sorted(labels))
    assert (head.base, head.encoder_digest) == ("minilm-int8", minilm.manifest.digest)
    assert report.accuracy == head.measured.accuracy >= 0.8
    assert report.rows == head.measured.test_rows == sum(one.rows for one in report.classes)
    vectors = embed(["I have forgotten my password"], minilm.tokenizer, minilm.session)
    classifier = head.classifier()
    assert classifier.labels[int(classifier.scores(vectors).argmax())] == "login_problem"


def test_a_fit_gives_the_same_version_twice(minilm: MiniLM, tmp_path: Path) -> None:
    path = write_csv(tmp_path, {"payment_problem", "login_problem"})
    assert fit_csv(minilm, path).head.version == fit_csv(minilm, path).head.version


def test_held_out_rows_are_not_fitted_on() -> None:
    texts = [f"ticket {i // 2}" for i in range(100)]  # each text twice
    train, test = hold_out(Labeled(texts, ["a", "b"] * 50, {}, {}))
    assert len(train.texts) == 80
    assert test.texts
    assert not set(train.texts) & set(test.texts)


def test_too_few_rows_or_labels_are_refused() -> None:
    few = Labeled(["t"] * 11, ["a"] * 9 + ["b"] * 2, {}, {})
    with pytest.raises(UsageError, match=r"^The label 'b' has 2 rows; each label needs at least 5: add rows"):
        hold_out(few)
    with pytest.raises(UsageError, match="at least two"):
        hold_out(Labeled(["t"], ["a"], {}, {}))


def test_reads_routes_and_skips_incomplete_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        '\ufefftext,label,route\n"a\nb",x,r1\nc,x,r2\nd,x,r2\n,x,r1\ne,,r1\nf,y,\n', encoding="utf-8"
    )
    data = read_labeled(path)
    assert (data.texts, data.labels) == (["a\nb", "c", "d", "f"], ["x", "x", "x", "y"])
    assert (data.routes, data.skipped) == ({"x": "r2"}, 2)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "t.csv",
            "message,label\na,b\n",
            "has no column 'text'; name the right one with --text: message, label.",
        ),
        ("t.csv", "", "is empty: the first line names the columns."),
        ("t.csv", "text,label\n", "has no row with both a text and a label: name the columns"),
        (
            "t.csv",
            "text,label\n,x\na,\n",
            "has no row with both a text and a label (2 rows lack one of them)",
        ),
        ("t.txt", "a\n", "has one text a line and no labels: use CSV or JSON Lines."),
        (
            "t.jsonl",
            '{"text": "a", "label": ["fee"]}\n',
            "line 1: 'label' is a list: give a text or a number.",
        ),
        ("t.jsonl", '{"text": "a", "label": {"a": 1}}\n', "line 1: 'label' is an object"),
        ("t.jsonl", '{"text": "a", "label": NaN}\n', "line 1 holds NaN, which JSON has not"),
        ("t.jsonl", '{"text": "a", "label": 1e999}\n', "line 1: 'label' is inf"),
        ("t.jsonl", '{"text": "a", "label": "\\ud83d"}\n', "line 1: 'label' holds half of a surrogate pair"),
        ("t.jsonl", '{"text": "\\ud83d", "label": "a"}\n', "line 1: 'text' holds half of a surrogate pair"),
        ("t.jsonl", '{"text": "a", "label": "b", "label": "c"}\n', "line 1 has the key 'label' twice"),
        ("t.jsonl", '{"text": "a", "label": "b", "route": ["c"]}\n', "line 1: 'route' is a list"),
        ("t.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', "line 2 is not JSON"),
        ("t.jsonl", "[1]\n", "line 1 is not a JSON object such as"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as error:
        read_labeled(tmp_path / name)
    assert sentence in str(error.value)


def test_tickets_that_were_fitted_on_are_not_measured(minilm: MiniLM, tmp_path: Path) -> None:
    data = read_labeled(write_csv(tmp_path, {"payment_problem", "login_problem"}), "message", "queue")

    def fitted(test: Labeled) -> Fitted:
        return fit(data, test, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None)

    more = data._replace(texts=[*data.texts, "I cannot log in"], labels=[*data.labels, "login_problem"])
    found = fitted(more)
    assert (found.report.rows, found.repeated) == (1, len(data.texts))
    for nothing_new in (data, data._replace(texts=[], labels=[])):
        with pytest.raises(
            UsageError, match="All test tickets are among the tickets that the model is fitted on"
        ):
            fitted(nothing_new)


def test_nothing_to_measure_is_an_error_and_no_figure() -> None:
    classifier = Classifier(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 1.0, b"")
    with pytest.raises(UsageError, match="no ticket to measure on"):
        measure(scored(classifier, np.zeros((0, 2), np.float32)), np.zeros(0, np.intp))


def test_a_model_that_was_fitted_on_cleaned_mails_says_so(minilm: MiniLM, tmp_path: Path) -> None:
    data = read_labeled(write_csv(tmp_path, {"payment_problem", "login_problem"}), "message", "queue")
    mails = data._replace(
        texts=[f"<p>{text}</p><blockquote>{data.texts[0]}</blockquote>" for text in data.texts]
    )

    def head(tickets: Labeled) -> Head:
        return fit(tickets, None, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None).head

    cleaned = head(mails.cleaned("mail"))
    assert (cleaned.cleaning, head(data).cleaning) == ("mail", "none")
    assert b"clean" not in head(data).encoded(), "heads of other releases keep their version"
    assert msgspec.msgpack.decode(cleaned.encoded(), type=Head) == cleaned


def test_a_row_of_which_cleaning_leaves_nothing_is_counted() -> None:
    data = Labeled(["<p>late</p>", "<style>p {}</style><br>"], ["a", "b"], {}, {}, skipped=2)
    assert data.cleaned("mail") == Labeled(["late"], ["a"], {}, {}, 3, "mail")
    assert data.cleaned(None) is data


def test_every_scalar_is_a_label_and_nothing_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    labels = ["0", "false", "true", '"a"', "7", "1.5", '" b "', "null", '""', '" "', '"\\u200b"', '"null"']
    rows = [f'{{"text": "t", "label": {label}}}' for label in labels]
    path.write_text("\n".join([*rows, '{"text": "t"}', "", '{"text": 0, "label": 0}']), encoding="utf-8")
    data = read_labeled(path)
    assert data.labels == ["0", "false", "true", "a", "7", "1.5", "b", "null", "0"]
    assert data.texts == ["t"] * 8 + ["0"]
    assert data.skipped == 5, "null, three that show nothing, a missing one; a blank line is no row"


def test_text_and_label_are_two_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--text and --label are both 'text'"):
        read_labeled(tmp_path / "t.csv", "text", "text")


def test_missing_and_not_utf8_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*: No such file"):
        read_labeled(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes("text,label\nGröße,a\n".encode("latin-1"))
    with pytest.raises(
        UsageError, match=r"line 2 is not UTF-8 \(byte 0xF6 after 2 characters\).*--encoding cp1252"
    ):
        read_labeled(tmp_path / "latin.csv")


def test_report_counts() -> None:
    classifier = Classifier(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 1.0, b"")
    vectors = np.float32([[9, 0], [9, 0], [0, 9], [9, 0]])
    report = measure(scored(classifier, vectors), indices_of(["a", "a", "b", "b"], classifier.labels))
    assert report.accuracy == 0.75
    a, b = report.classes
    assert (a.rows, a.precision, a.recall, a.mistaken_for) == (2, pytest.approx(2 / 3), 1.0, None)
    assert (b.rows, b.precision, b.recall, b.mistaken_for) == (2, 1.0, 0.5, "a")
    assert report.thresholds[-1].automatic == 1.0
    with pytest.raises(UsageError, match=r"labels that the model was not fitted on: c\.$"):
        indices_of(["a", "c"], classifier.labels)


def test_a_draft_is_a_taxonomy() -> None:
    labels = ["card_arrival", 'odd "label"\\', "card_arrival"]
    texts = ['where is "my" card\n?', "b\x7f", "still waiting"]
    taxonomy = parse_taxonomy(
        draft_taxonomy(Labeled(texts, labels, {"card_arrival": "mail"}, {}), 2), "draft"
    )
    assert taxonomy.categories["card_arrival"].description == "card arrival"
    assert sorted(taxonomy.categories["card_arrival"].examples) == sorted([texts[0], texts[2]])
    assert taxonomy.route("card_arrival") == "mail"
    assert set(taxonomy.categories) == set(labels)
