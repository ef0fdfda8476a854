"""Makes the tokens of a prompt."""

from collections.abc import Sequence

from ....schemas.generation import ChatMessage, GenerateOptions
from ...errors import BadRequest, TooLarge
from ...runtime.chat_template import ChatTemplate
from ...runtime.text_tokens import TextTokens
from .literal import Literals
from .reading import Prompt

SHORTER = 'send a shorter one, or with the option `too_long` "window"'


class PromptMaker:
    """The prompts of one model. Several threads may call it at once."""

    def __init__(self, tokens: TextTokens, template: ChatTemplate | None) -> None:
        """``template``: None for a model that cannot chat."""
        self.tokens = tokens
        self._template = template
        self._literals = Literals(tokens)

    @property
    def context(self) -> int:
        """The most tokens of a prompt."""
        return self.tokens.max_tokens

    def prompt(self, prompt: Prompt, options: GenerateOptions) -> list[int]:
        """At least one token, and at most those of the context. Raises TooLarge or another BadRequest."""
        windowed = options.too_long == "window"
        # A prompt that fills the context leaves no room for an answer.
        room = self.context - min(options.max_tokens, self.context // 2)
        if prompt.text is not None:
            return self.tokens.encode_end(prompt.text, room) if windowed else self._whole(prompt.text)
        if windowed:
            return self._window(prompt.messages, room)
        return self._chat(prompt.messages)

    def _whole(self, text: str) -> list[int]:
        try:
            return self.tokens.encode(text)
        except TooLarge as error:
            raise self._too_large(error) from None

    def _chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        try:
            return self._turns(messages)
        except TooLarge as error:
            raise self._too_large(error) from None

    def _turns(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The tokens of a conversation. Raises TooLarge or another BadRequest."""
        if self._template is None:
            raise BadRequest("The model has no chat template: send a `text`, which it goes on with.")
        contents, marked = self._literals.marked([message.content for message in messages])
        turns = [
            {"role": message.role, "content": content}
            for message, content in zip(messages, contents, strict=True)
        ]
        tokens = self._literals.tokens(self._template.text(turns), marked)
        if not tokens:
            raise BadRequest("The model's chat template has made nothing of the messages: send a `text`.")
        return tokens

    def _window(self, messages: Sequence[ChatMessage], room: int) -> list[int]:
        """The system's messages at the begin, and as many of the last turns as have room; the first one of them is
        a user's. Raises TooLarge if the last turn alone has none.
        """
        kept = next(
            (index for index, message in enumerate(messages) if message.role != "system"), len(messages)
        )
        starts = [
            kept,
            *(index for index in range(kept + 1, len(messages)) if messages[index].role == "user"),
        ]
        low = 0
        high = len(starts) - 1
        found = self._in_room([*messages[:kept], *messages[starts[high] :]], room)
        if found is None:
            raise TooLarge(
                f"The last turn and the system's message have more tokens than the {room} that the context of "
                f"{self.context} has beside the answer: send shorter ones."
            )
        while low < high:  # a later start has fewer tokens
            middle = (low + high) // 2
            tokens = self._in_room([*messages[:kept], *messages[starts[middle] :]], room)
            if tokens is None:
                low = middle + 1
            else:
                high = middle
                found = tokens
        return found

    def _in_room(self, messages: Sequence[ChatMessage], room: int) -> list[int] | None:
        """The tokens of the messages; None if they are more than ``room``."""
        try:
            tokens = self._turns(messages)
        except TooLarge:
            return None
        return tokens if len(tokens) <= room else None

    def _too_large(self, error: TooLarge) -> TooLarge:
        return TooLarge(str(error).replace("send a shorter one", SHORTER))
