"""The contracts of the tasks that come with inferstream, by name."""

from typing import Final

from .contract import Contract
from .messages import EmbedOptions, EmbedOutput, TriageOptions, TriageOutput
from .translation import TranslateOptions, TranslateOutput

CONTRACTS: Final[dict[str, Contract]] = {
    "triage": Contract(TriageOptions, TriageOutput),
    "embed": Contract(EmbedOptions, EmbedOutput),
    "translate": Contract(TranslateOptions, TranslateOutput),
}
