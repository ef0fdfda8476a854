"""`inferstream translate`: a file of subtitles or text in another language."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from ...config import Config
from ...errors import UsageError
from ...subtitles.encoded import read_encoded
from ...subtitles.script import Script, ScriptFormat, format_of
from ...tasks.translate.glossary import Glossary, read_glossary
from ..options.connection import connection
from ..options.sending import HIGHER_FIRST, model_option, priority_option, sending_options
from ..options.settings import KAFKA, with_settings
from ..output.translated_file import TASK, Places, TranslatedFile

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("translate")
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, help="The translated file.  [default: FILE with the language in its name]")
@click.option("--source", metavar="LANGUAGE", help="Language of the file, e.g. en.")
@click.option(
    "--target", metavar="LANGUAGE", help="Language to translate to, e.g. pt.  [default: that of the model]"
)
@click.option(
    "--glossary",
    "glossaries",
    type=FILE,
    multiple=True,
    help="File of terms that are not translated, or are translated so: .csv, .tsv, .jsonl or .toml, as for workers. "
    "Needs --source and --target. May be repeated.",
)
@click.option(
    "--join/--no-join",
    default=True,
    help="Translate a sentence that goes over several cues as one, or each cue alone.  [default: join]",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(get_args(ScriptFormat)),
    help="Format of the file.  [default: by its name]",
)
@click.option("--encoding", help="Encoding of the file, e.g. cp1252 or utf-16.  [default: utf-8]")
@click.option("--out-encoding", help="Encoding of the translated file.  [default: that of the file]")
@click.option("--overwrite", is_flag=True, help="Replace the translated file if it exists.")
@sending_options(
    model=model_option("one for the languages"),
    priority=priority_option(
        default="low", show_default=True, help=f"{HIGHER_FIRST}: live captions go before files."
    ),
    in_flight="passages",
)
@with_settings(KAFKA, kafka=False)
def command(
    file: Path,
    out: Path | None,
    kind: ScriptFormat | None,
    encoding: str | None,
    out_encoding: str | None,
    glossaries: tuple[Path, ...],
    join: bool,
    overwrite: bool,
    source: str | None,
    target: str | None,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    timeout_s: float,
    **how: Any,
) -> int:
    """Translate FILE: subtitles (.srt, .vtt) or a text (.txt). All but the words stays as it is.

    \b
    With the model in this process, to film.pt.srt:
      inferstream translate film.srt --source en --target pt
    By the workers on Kafka, with terms that stay or are translated so:
      inferstream translate talk.vtt --source en --target pt --glossary terms.csv --kafka 127.0.0.1:9092
    A file of a Windows program:
      inferstream translate film.srt --encoding cp1252 --source en --target pt

    Kept: times, numbers, settings, notes and styles, tags, {\\an8}, dashes of speakers, notes of music, line ends,
    encoding. A sentence over several cues is translated as one and split again by length; a text is
    translated line by line, also where a sentence goes over several lines of at least 40 characters.

    After an interrupt, run the same command again to continue. The file is written whole when all is translated.
    Exit status: 0 if all was translated; 3 if some passages failed, which then stay as they are; 1 if the
    run stopped; 2 for a wrong option or file.
    """
    script_format = format_of(file, kind)
    encoded = read_encoded(file, encoding)
    script = Script(encoded.text, script_format, str(file), join=join)
    places = Places.of(file, out or _out_of(file, source, target), overwrite=overwrite)
    models = [how["model"]] if how["model"] else []
    languages = {"source": source, "target": target}
    options = {name: value for name, value in languages.items() if value is not None}
    connecting = connection(
        TASK, models, config, kafka=kafka, embedded=embedded, timeout_s=timeout_s, options=options
    )
    terms = _terms(glossaries, source, target)
    run = TranslatedFile(script, encoded.in_encoding(out_encoding), places, terms)
    return run.translate(connecting, timeout_s, how | {"options": options})


def _terms(paths: Sequence[Path], source: str | None, target: str | None) -> Glossary:
    """The terms of all files; of one that stands in several, the last file counts. Raises UsageError."""
    if paths and not (source and target):
        raise UsageError("--glossary needs --source and --target: its terms belong to languages.")
    terms: dict[str, str] = {}
    for path in paths:
        terms |= read_glossary(path, str(source), str(target))
    return Glossary(terms)


def _out_of(file: Path, source: str | None, target: str | None) -> Path:
    """film.pt.srt for film.srt and for film.en.srt. Raises UsageError without a target language."""
    if not target:
        raise UsageError(f"Name the translation of {file} with --out, or give its language with --target.")
    stem = file.stem.removesuffix(f".{source}") if source else file.stem
    return file.with_name(f"{stem}.{target}{file.suffix}")
