"""Loads a model of the task `generate`."""

from dataclasses import dataclass

from ...errors import ModelError
from ...graphs.llama.decoder import KIND
from ...models.metrics import GENERATE
from ...models.registry import ModelRegistry
from ...runtime.chat_template import ChatTemplate, read_chat
from ...runtime.generator import Generator, GeneratorSize
from ...runtime.graph import Graph
from ...runtime.prefixes import Keeping
from ...runtime.sessions import Session
from ...runtime.text_tokens import TextTokens
from ..definition import Loaded
from .choosers import Choosers
from .grammar import grammars_of
from .prompts import PromptMaker
from .settings import GenerateSettings
from .task import Generate


@dataclass(frozen=True)
class GeneratorOf:
    """Makes the `Generator` of a graph; equal for equal sizes, so that two names of one model share its memory.

    Its device takes the memory of all lanes, and warms it up.
    """

    rows: int
    context: int
    keeping: Keeping

    def __call__(self, graph: Graph) -> Generator:
        """Raises ModelError for a graph that is no session."""
        if not isinstance(graph, Session):
            raise ModelError("A decoder runs in a session of its own: nothing can stand in for it.")
        return Generator(graph, GeneratorSize(rows=self.rows, context=self.context), self.keeping)


def load_generate(registry: ModelRegistry, model_name: str, settings: GenerateSettings) -> Loaded:
    """A decoder of the registry. Raises UnknownModel, ModelError, or UsageError for a model of another kind."""
    manifest = registry.load(model_name, KIND, GENERATE)
    context = min(settings.context, manifest.max_tokens)
    chat = read_chat(manifest.chat_path)
    template = ChatTemplate(chat) if chat.template else None
    choosers = Choosers(grammars_of(manifest.tokenizer_path, manifest.end_ids))
    prompts = PromptMaker(TextTokens(manifest.tokenizer_path, context), template)
    return Loaded(
        manifest,
        lambda graph: Generate(model_name, manifest, prompts, choosers),
        GeneratorOf(settings.rows, context, Keeping(settings.prefix_tokens, settings.shared_prefixes)),
    )
