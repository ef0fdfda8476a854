"""Makes the tokens of a prompt."""

from collections.abc import Sequence

from ....schemas.generation import ChatMessage, GenerateOptions
from ...errors import BadRequest
from ...runtime.chat_template import ChatTemplate
from ...runtime.text_tokens import TextTokens
from .reading import Prompt


class PromptMaker:
    """The prompts of one model. Several threads may call it at once."""

    def __init__(self, tokens: TextTokens, template: ChatTemplate | None) -> None:
        """``template``: None for a model that cannot chat."""
        self.tokens = tokens
        self._template = template

    def prompt(self, prompt: Prompt, options: GenerateOptions) -> list[int]:
        """At least one token, and at most those of the context. Raises BadRequest."""
        if prompt.text is not None:
            return self.tokens.encode(prompt.text)
        return self.tokens.encode(self._chat(prompt.messages))

    def _chat(self, messages: Sequence[ChatMessage]) -> str:
        if self._template is None:
            raise BadRequest("The model has no chat template: send a `text`, which it goes on with.")
        return self._template.text([{"role": one.role, "content": one.content} for one in messages])
