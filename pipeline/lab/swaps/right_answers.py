"""What releases answer, computed apart from any worker."""

from collections.abc import Iterable, Sequence

import msgspec

from ....schemas.messages import Request, TriageOutput
from ...config import Config
from ...serving.loading import ModelLoader
from ...serving.releases.first_texts import answer_alone
from ...serving.releases.opening import ReleaseOpener
from ...tasks.catalogue import tasks
from ...telemetry import WorkerMetrics


def right_answers(
    config: Config, versions: Iterable[str], texts: Sequence[str]
) -> dict[str, dict[str, TriageOutput]]:
    """The answer of each release of triage to each text, alone in its batch. Blocks."""
    opener = ReleaseOpener(config, ModelLoader(config, WorkerMetrics()))
    triage = tasks().find("triage")
    found: dict[str, dict[str, TriageOutput]] = {}
    for version in versions:
        entry = opener.open(triage, opener.find("triage", version)).entry
        answers = {text: answer_alone(entry, entry.device.model, Request(text=text)) for text in texts}
        found[version] = {
            text: msgspec.json.decode(answer, type=TriageOutput) for text, answer in answers.items() if answer
        }
    opener.forget(())
    return found
