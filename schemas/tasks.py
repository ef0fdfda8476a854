"""The contracts of the tasks that come with inferstream, by name."""

from typing import Final

from .classification import ClassifyOptions, ClassifyOutput
from .contract import Contract
from .generation import GenerateOptions, GenerateOutput, GenerateRequest, Token, tokens_of
from .messages import EmbedOptions, EmbedOutput, TriageOptions, TriageOutput
from .translation import TranslateOptions, TranslateOutput

CONTRACTS: Final[dict[str, Contract]] = {
    "triage": Contract(TriageOptions, TriageOutput),
    "embed": Contract(EmbedOptions, EmbedOutput),
    "classify": Contract(ClassifyOptions, ClassifyOutput),
    "translate": Contract(TranslateOptions, TranslateOutput),
    "generate": Contract(
        GenerateOptions, GenerateOutput, GenerateRequest, Token, pieces=tokens_of, takes_text=True
    ),
}
