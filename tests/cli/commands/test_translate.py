"""`inferstream translate` with a responder that translates: it shouts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from support.responder import Responder, responder_thread
from support.tiny_marian import write_tiny_marian

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.client.reply_file import ReplyFile
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.schemas.messages import Failure, Reply, Request, Result
from inferstream.schemas.topics import Header, Topics
from inferstream.schemas.translation import TranslateOutput

Run = Callable[..., int]
LIMIT_S = 60

SRT = """1
00:00:01,000 --> 00:00:02,500
{\\an8}<i>When I was young,</i>

2
00:00:02,600 --> 00:00:04,000
Hello.

3
00:00:05,000 --> 00:00:06,000
Bye.
"""
SHOUTED = (
    SRT.replace("When I was young,", "WHEN I WAS YOUNG,").replace("Hello.", "HELLO.").replace("Bye", "BYE")
)


def translation(request: Request, text: str, note: str | None = None) -> Result:
    output = TranslateOutput(text, "en", "pt", note=note or msgspec.UNSET)
    return Result(str(request.id), "translate", "m", "1", msgspec.Raw(msgspec.json.encode(output)))


def shout(record: Record, request: Request) -> Iterable[Reply]:
    yield translation(request, str(request.text).upper())


def shout_but(
    *texts: str, then: Callable[[Request], list[Reply]] = lambda _: []
) -> Callable[..., Iterable[Reply]]:
    """Another behavior for requests with these texts: by default no reply."""
    return lambda record, request: then(request) if request.text in texts else shout(record, request)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def responder(queue: Path) -> Iterator[Responder]:
    with responder_thread(queue, shout, Topics("translate")) as responder:
        yield responder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.en.srt"
    path.write_text(SRT)
    return path


@pytest.fixture
def translate(queue: Path, responder: Responder) -> Run:
    languages = ("--source", "en", "--target", "pt")
    return lambda file, *arguments: run(
        ["translate", str(file), *languages, *arguments, "--embedded", str(queue)]
    )


def test_a_film_is_translated_beside_it(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(film) == 0
    out = film.with_name("film.pt.srt")
    assert out.read_text() == SHOUTED
    assert f"{out}: 3 cues in 3 passages." in capsys.readouterr().err
    assert sorted(path.name for path in film.parent.iterdir()) == ["film.en.srt", "film.pt.srt", "queue"]
    assert responder.requests[0].options == {"source": "en", "target": "pt"}
    headers = dict(responder.records[0].headers)
    assert headers[Header.PRIORITY] == b"low", "live captions go first"


@pytest.mark.parametrize(
    ("name", "content", "arguments", "written"),
    [
        ("a.txt", b"Hello\r\n\r\n  you\r\n", (), b"HELLO\r\n\r\n  YOU\r\n"),
        ("a.txt", b"\xef\xbb\xbfHello", (), b"\xef\xbb\xbfHELLO"),
        ("a.txt", "größe\n".encode("cp1252"), ("--encoding", "cp1252"), "GRÖSSE\n".encode("cp1252")),
        ("a.txt", "gr\u00f6\n".encode("utf-16"), ("--encoding", "utf-16"), "GR\u00d6\n".encode("utf-16")),
        (
            "a.txt",
            b"\xfe\xff" + "a\n".encode("utf-16-be"),
            ("--encoding", "utf-16"),
            b"\xfe\xff" + "A\n".encode("utf-16-be"),
        ),
        (
            "a.txt",
            "größe".encode("cp1252"),
            ("--encoding", "cp1252", "--out-encoding", "utf-8"),
            "GRÖSSE".encode(),
        ),
        ("a.txt", b"", (), b""),
        ("a.txt", b"\n1984\n", (), b"\n1984\n"),
        (
            "a.vtt",
            b"WEBVTT\n\nNOTE no\n\n00:01.000 --> 00:02.000 line:0\n<v Al>Hi &amp; you\n",
            (),
            b"WEBVTT\n\nNOTE no\n\n00:01.000 --> 00:02.000 line:0\n<v Al>HI &amp; YOU\n",
        ),
        ("a", b"WEBVTT", ("--format", "vtt"), b"WEBVTT"),
    ],
)
def test_all_but_the_words_stays(
    translate: Run, tmp_path: Path, name: str, content: bytes, arguments: tuple[str, ...], written: bytes
) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(content)
    assert translate(source, "--out", str(out), *arguments) == 0
    assert out.read_bytes() == written


def test_a_sentence_over_two_cues_is_one_request(translate: Run, film: Path, responder: Responder) -> None:
    film.write_text(SRT.replace("{\\an8}<i>When I was young,</i>", "When I was young,"))
    assert translate(film) == 0
    assert responder.texts[0] == "When I was young, Hello."
    responder.records.clear()
    assert translate(film, "--overwrite", "--no-join") == 0
    assert "When I was young," in responder.texts


def test_a_passage_that_fails_stays_and_is_told(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(request: Request) -> list[Reply]:
        return [Failure(str(request.id), "translate", "too_large", "It is too long.")]

    responder.behavior = shout_but("Hello.", then=refuse)
    assert translate(film) == 3
    assert film.with_name("film.pt.srt").read_text() == SHOUTED.replace("HELLO.", "Hello.")
    told = capsys.readouterr().err
    assert "Line 7 stays as it is: It is too long. (too_large)" in told
    assert "3 cues in 3 passages, 1 of them not translated." in told


def test_notes_are_told_with_their_lines(
    translate: Run, tmp_path: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    responder.behavior = lambda record, request: [translation(request, "x", note=f"About {request.text}.")]
    source = tmp_path / "a.txt"
    source.write_text("".join(f"{letter}\n" for letter in "abcdefg"))
    assert translate(source) == 0
    told = capsys.readouterr().err
    assert "Line 1: About a." in told
    assert "Line 5: About e." in told
    assert "… and 2 more such lines." in told


def test_a_run_that_stopped_goes_on(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    out, answers = film.with_name("film.pt.srt"), film.with_name("film.pt.srt.part")
    responder.behavior = shout_but("Hello.")
    assert translate(film, "--timeout", "1") == 1
    told = capsys.readouterr().err
    assert "Stopped after line 3: run the same command again to continue there." in told
    assert "No answer came for 1 s" in told
    assert not out.exists(), "it is written whole"
    answers.write_bytes(answers.read_bytes() + b'{"type":"resul')  # killed in the middle of a line
    responder.behavior = shout
    responder.records.clear()
    assert translate(film) == 0
    assert sorted(responder.texts) == ["Bye.", "Hello."]
    assert out.read_text() == SHOUTED
    assert not answers.exists()


@pytest.mark.parametrize("changed", ["text", "option", "joining"])
def test_answers_to_another_input_are_not_taken_over(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    film.write_text(SRT.replace("{\\an8}<i>", "").replace("</i>", ""))
    responder.behavior = shout_but("Bye.")
    assert translate(film, "--timeout", "1") == 1
    if changed == "text":
        film.write_text(film.read_text().replace("young", "old"))
    arguments = {"text": (), "option": ("--model", "big"), "joining": ("--no-join",)}[changed]
    assert translate(film, *arguments) == 2
    assert "does not belong to this input" in capsys.readouterr().err


def test_an_interrupt_and_another_one(film: Path, queue: Path, responder: Responder) -> None:
    responder.behavior = shout_but("Bye.")
    command = [
        sys.executable,
        "-m",
        "inferstream.pipeline.cli.main",
        "translate",
        str(film),
        "--target",
        "pt",
    ]
    for _ in range(2):
        seen = len(responder.records)
        process = subprocess.Popen([*command, "--embedded", str(queue)], stderr=subprocess.PIPE, text=True)
        responder.wait_for(seen + (1 if seen else 3))
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=LIMIT_S)[1]
        assert process.returncode == 130
        assert "Stopped " in told
        assert "Traceback" not in told
    responder.behavior = shout
    assert subprocess.run([*command, "--embedded", str(queue)], timeout=LIMIT_S).returncode == 0
    assert film.with_name("film.en.pt.srt").read_text() == SHOUTED, "without --source the name is kept"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nowhere.srt"], 1, "Cannot use nowhere.srt: No such file or directory."),
        (["film.srt", "--out", "./film.srt"], 2, "--out is the input itself"),
        (
            ["film.srt", "--out", "there.srt"],
            2,
            "there.srt exists: name another file with --out, or add --overwrite.",
        ),
        (
            ["film.srt", "--out", "no/where.srt"],
            1,
            "Cannot use no/where.srt.part: No such file or directory.",
        ),
        (["film.srt", "--out", "/dev/null", "--overwrite"], 2, "/dev/null is no file"),
        (
            ["film.vtt"],
            2,
            "film.vtt, line 1 is not WEBVTT, which a WebVTT file begins with; for SubRip add --format srt.",
        ),
        (["web.srt"], 2, "web.srt, line 1 begins WebVTT: name the file .vtt, or add --format vtt."),
        (["film.ass"], 2, "film.ass is of a format that is not read here: convert it to .srt or .vtt first."),
        (["film"], 2, "The name of film does not show its format: add --format srt, vtt, txt."),
        (
            ["latin.srt"],
            2,
            "latin.srt, line 3 is not UTF-8 (byte 0xE9): save it as UTF-8, or name its encoding",
        ),
        (["latin.srt", "--encoding", "nothing"], 2, "--encoding 'nothing' is not an encoding of text"),
        (["wide.srt"], 2, "wide.srt looks like UTF-16: save it as UTF-8, or add --encoding utf-16"),
        (["zip.srt"], 2, "zip.srt is compressed with gzip"),
    ],
)
def test_a_mistake_is_one_sentence(
    translate: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("film.srt", "film.vtt", "film.ass", "film", "there.srt"):
        (tmp_path / name).write_text(SRT)
    (tmp_path / "web.srt").write_text("WEBVTT\n")
    (tmp_path / "latin.srt").write_bytes(SRT.replace("young", "jovem é").encode("latin-1"))
    (tmp_path / "wide.srt").write_bytes(SRT.encode("utf-16"))
    (tmp_path / "zip.srt").write_bytes(b"\x1f\x8b\x08")
    assert translate(*arguments) == status
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("Error: ") == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_character_that_the_encoding_does_not_have(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    responder.behavior = lambda record, request: [translation(request, "Łódź")]
    assert translate(film, "--encoding", "cp1252") == 2
    assert (
        "cp1252 of the input has no 'Ł', which stands in line 3 of the translation" in capsys.readouterr().err
    )
    responder.records.clear()
    assert translate(film, "--encoding", "cp1252", "--out-encoding", "utf-8") == 0
    assert not responder.records, "the answers were kept"
    assert "Łódź" in film.with_name("film.pt.srt").read_text()


def test_without_a_target_the_output_must_be_named(
    film: Path, queue: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["translate", str(film), "--embedded", str(queue)]) == 2
    assert "with --out, or give its language with --target" in capsys.readouterr().err
    assert (
        run(["translate", str(film), "--out", str(film.with_name("out.srt")), "--embedded", str(queue)]) == 0
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(
    translate: Run, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film.parent.chmod(0o555)
    assert translate(film) == 1
    assert "Permission denied" in capsys.readouterr().err


def test_two_runs_cannot_write_to_one_file(
    translate: Run, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ReplyFile(film.with_name("film.pt.srt.part")):
        assert translate(film) == 2
    assert "Another run is writing" in capsys.readouterr().err


def test_without_a_worker(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["translate", str(film), "--target", "pt", "--embedded", str(tmp_path / "nothing")]) == 1
    assert "`inferstream worker translate --embedded" in capsys.readouterr().err
    assert not film.with_name("film.en.pt.srt.part").exists()


def test_what_would_fail_for_each_passage_stops_the_run(
    translate: Run, film: Path, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(record: Record, request: Request) -> Iterable[Reply]:
        yield Failure(str(request.id), "translate", "unknown_model", "There is no model for 'xx'.")

    responder.behavior = refuse
    assert translate(film) == 2
    assert capsys.readouterr().err.endswith("Error: There is no model for 'xx'.\n")
    assert not list(film.parent.glob("film.pt*"))


def test_without_workers_the_languages_choose_the_model(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    assert run(["translate", str(film), "--source", "pt", "--target", "en"]) == 1
    assert "run `inferstream models pull translate-pt-en`" in capsys.readouterr().err
    folder = write_tiny_marian(tmp_path / "model", 0)
    import_translator(ModelRegistry(), folder, lambda step, done, total: None)
    assert run(["translate", str(film), "--source", "xx", "--target", "yy"]) == 0
    assert film.with_name("film.en.yy.srt").exists()
    assert run(["request", "translate", "my card", "--source", "xx", "--target", "yy"]) == 0
    assert run(["request", "translate", "my card", "--source", "xx"]) == 0  # one is enough if it says which


@pytest.mark.parametrize("asked", [["--source", "en", "--target", "fr"], ["--target", "fr"]])
def test_without_workers_an_unknown_pair_names_those_of_this_machine(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    request = ["request", "translate", "my card", *asked]
    assert run(request) == 2
    assert "on this machine, which has none. `inferstream models pull` fetches" in capsys.readouterr().err
    folder = write_tiny_marian(tmp_path / "model", 0)
    import_translator(ModelRegistry(), folder, lambda step, done, total: None)
    import_translator(ModelRegistry(), folder, lambda step, done, total: None, "other")
    for command in (request, ["request", "translate", "--stream", *asked]):
        assert run(command) == 2
        assert "this machine, which has xx-yy (other), xx-yy (translate-xx-yy)." in capsys.readouterr().err


def test_each_request_gets_the_terms_that_it_has(
    translate: Run, film: Path, responder: Responder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, toml = tmp_path / "a.csv", tmp_path / "b.toml"
    csv.write_text("term,translation,target\nhello,olá,pt\nBye,Adeus,pt\nBye,Adiós,es\n")
    toml.write_text('Bye = "Tchau"\n')
    assert translate(film, "--glossary", str(csv), "--glossary", str(toml)) == 0
    terms = {request.text: request.options.get("glossary") for request in responder.requests}
    assert terms == {"When I was young,": None, "Hello.": {"Hello": "Olá"}, "Bye.": {"Bye": "Tchau"}}
    csv.write_text("word\nHello\n")
    assert translate(film, "--overwrite", "--glossary", str(csv)) == 2
    assert "needs the columns term and translation" in capsys.readouterr().err


def test_a_glossary_needs_languages(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["translate", str(film), "--target", "pt", "--glossary", "a.csv"]) == 2
    assert "--glossary needs --source and --target" in capsys.readouterr().err
