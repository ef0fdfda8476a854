"""What splitting, protecting and restoring do to translations: BLEU, and how much of what must survive survives.

    python benchmarks/kept_in_translations.py FOLDER      # has flores-dev.en and flores-dev.pt

The sentences are those of FLORES (CC BY-SA 4.0), which are no part of this project. Needs `inferstream models pull
translate-en-pt`, `… translate-pt-en` and the package sacrebleu. "The model alone" gets each text as one row.
"""

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from flores import read_lines

from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.subwords import END, Subwords
from inferstream.pipeline.runtime.translator import SourceRow, Translation
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.translate.definition import TranslateDefinition
from inferstream.pipeline.tasks.translate.settings import TranslateSettings
from inferstream.schemas.messages import Request
from inferstream.schemas.translation import TranslateOutput

ROWS = 8
SPACING = r"\r\n|[\n\t]|  +"
KINDS = {
    "links and addresses": [
        "https://www.example.com/orders/4711?x=1&y=2#top",
        "www.my-shop.co.uk/help",
        "jane.doe+test@example.com",
        "@ana_lima",
    ],
    "code and names": ["{name}", "`git commit`", "C:\\Users\\me\\report.pdf", "MAX_ROWS=64", "#4711-B"],
    "signs": ["😀", "♪", "€", "→"],
    "numbers": ["1987", "4711", "+351 912 345 678", "2024-03-15", "14:30", "345"],
}
"""Each is put into each frame of its language."""

FRAMES = {
    "en": [
        "Please look at {} before Friday.",
        "I found {} in the letter, and my colleague found it too.",
        "We wrote it down: {}.",
        "Why is {} not in my account any more?",
        "Yesterday the support told me that {} was wrong. I do not know what to do now.",
    ],
    "pt": [
        "Por favor, veja {} antes de sexta-feira.",
        "Encontrei {} na carta, e o meu colega também encontrou.",
        "Nós escrevemos isso: {}.",
        "Porque é que {} já não está na minha conta?",
        "Ontem o apoio disse-me que {} estava errado. Agora não sei o que fazer.",
    ],
}
MARKED = {
    "en": [
        "This is <i>very</i> important.",
        "<b>Warning:</b> do not open the door.",
        'Click <a href="https://example.com/x">here</a> to continue.',
        "{\\an8}I don't know what to say.",
        "<i>She was here yesterday.</i>",
        "The **first** letter came *late*.",
        "My card is<br>broken, <u>please</u> help.",
        "<p>One thing.</p>\n<p>Another <em>small</em> thing.</p>",
        "I was talking to him\nabout the weather.",
        "Name:\tJohn  Smith\r\nCity:\tLisbon",
    ],
    "pt": [
        "Isto é <i>muito</i> importante.",
        "<b>Aviso:</b> não abra a porta.",
        'Clique <a href="https://example.com/x">aqui</a> para continuar.',
        "{\\an8}Não sei o que dizer.",
        "<i>Ela esteve aqui ontem.</i>",
        "A **primeira** carta chegou *tarde*.",
        "O meu cartão está<br>partido, <u>por favor</u> ajude.",
        "<p>Uma coisa.</p>\n<p>Outra coisa <em>pequena</em>.</p>",
        "Eu estava a falar com ele\nsobre o tempo.",
        "Nome:\tJoão  Silva\r\nCidade:\tLisboa",
    ],
}
MARKS = re.compile(r"</?\w[^<>]*>|\{\\an8\}|\*+|" + SPACING)


class Both(NamedTuple):
    """The same texts by the task, and by its model alone."""

    task: list[str]
    alone: list[str]


class Bench:
    """A variant of a translator, and the task on it."""

    def __init__(self, name: str) -> None:
        definition = TranslateDefinition()
        loaded = definition.load(ModelRegistry(), name, TranslateSettings())
        session = Session(loaded.manifest.graph_path, provider="cpu")
        assert loaded.model is not None
        self._task = loaded.make(session)
        self._model = loaded.model(session)
        self._vocabulary = Subwords(loaded.manifest.tokenizer_path)

    def both(self, texts: Sequence[str]) -> Both:
        return Both(self.by_task(texts), self.alone(texts))

    def by_task(self, texts: Sequence[str]) -> list[str]:
        options = self._task.options({})
        asked = [Ask(self._task.read(Request(text=text)), options) for text in texts]
        prepared = self._task.prepare(asked)
        outputs = iter(self._run([row for rows in prepared if not isinstance(rows, bytes) for row in rows]))
        answers = []
        for rows in prepared:
            answer = rows
            if not isinstance(rows, bytes):
                (answer,) = self._task.finish([Finished([next(outputs) for _ in rows], rows, options)])
            answers.append(msgspec.json.decode(answer, type=TranslateOutput).text)
        return answers

    def alone(self, texts: Sequence[str]) -> list[str]:
        rows = [SourceRow([*self._vocabulary.encode(text), END]) for text in texts]
        return [self._vocabulary.decode(one.tokens) for one in self._run(rows)]

    def _run(self, rows: Sequence[Row]) -> list[Translation]:
        order = sorted(range(len(rows)), key=lambda index: rows[index].length)
        found: list[Translation] = [Translation([], True)] * len(rows)
        for start in range(0, len(order), ROWS):
            batch = order[start : start + ROWS]
            for index, one in zip(batch, self._model.step([rows[index] for index in batch]), strict=True):
                found[index] = one
        return found


def survival(bench: Bench, language: str) -> None:
    for kind, items in KINDS.items():
        cases = [(frame.format(item), item) for frame in FRAMES[language] for item in items]
        found = bench.both([text for text, _ in cases])
        task, alone = (
            sum(item in text for (_, item), text in zip(cases, texts, strict=True)) for texts in found
        )
        print(f"  {kind}: {task} of {len(cases)} survive, {alone} with the model alone")
    texts = MARKED[language]
    found = bench.both(texts)
    task, alone = (
        sum(
            sorted(MARKS.findall(text)) == sorted(MARKS.findall(source))
            for source, text in zip(texts, made, strict=True)
        )
        for made in found
    )
    print(f"  markup, breaks, spaces: {task} of {len(texts)} survive, {alone} with the model alone")


def main(folder: Path) -> None:
    lines = read_lines(folder)
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    for source, target in (("en", "pt"), ("pt", "en")):
        bench = Bench(f"translate-{source}-{target}-int8")
        print(f"{source} to {target}")
        survival(bench, source)
        fours = [" ".join(lines[source][start : start + 4]) for start in range(0, len(lines[source]), 4)]
        of_fours = [" ".join(lines[target][start : start + 4]) for start in range(0, len(lines[target]), 4)]
        wrapped = ["\n".join(textwrap.wrap(line, 40)) for line in lines[source]]
        for kind, texts, references in (
            ("one sentence", lines[source], lines[target]),
            ("four sentences in a text", fours, of_fours),
            ("one sentence, wrapped at 40 columns", wrapped, lines[target]),
        ):
            found = bench.both(texts)
            task, alone = (
                metric.corpus_score([" ".join(text.split()) for text in made], [references]).score
                for made in found
            )
            print(f"  {kind}: BLEU {task:.2f}, {alone:.2f} with the model alone")
    print(metric.get_signature())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
