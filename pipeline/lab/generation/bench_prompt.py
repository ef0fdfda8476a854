"""The prompts of a run, as text for a worker and as tokens for its peers."""

from typing import Final

from msgspec import Struct

from ...errors import InferstreamError, UsageError
from ...models.manifest import Manifest
from ...runtime.chat_template import ChatTemplate, read_chat
from ...runtime.text_tokens import TextTokens

LONGEST: Final = 65_536
QUESTIONS: Final = (
    "My invoice shows two charges for March.",
    "I cannot log in since this morning.",
    "The export button does nothing.",
    "How do I add a second user to my account?",
    "The app crashes whenever I open the settings page on my phone, even after I installed it again.",
    "Please cancel my plan.",
    "Where can I see my usage?",
    "The report totals do not match the dashboard.",
)
SENTENCE: Final = (
    "A customer writes that the invoice of March shows two charges, that the export of the report stops after a "
    "minute, and that the page for a new password says nothing; the answer names the page where charges are listed, "
    "asks for the version of the app, and says when the team will write again."
)


class BenchPrompt(Struct, frozen=True):
    """One prompt in both forms."""

    text: str
    tokens: list[int]


class BenchPrompts:
    """Prompts for one decoder."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises UsageError for a model without a chat template."""
        self._tokens = TextTokens(manifest.tokenizer_path, LONGEST)  # before a text is cut, it may be longer
        chat = read_chat(manifest.chat_path)
        if not chat.template:
            raise UsageError(f"{manifest.name} has no chat template: take a model that can chat.")
        self._template = ChatTemplate(chat)

    def questions(self, count: int) -> list[BenchPrompt]:
        """Different questions of users, each in the chat template."""
        texts = [
            QUESTIONS[number % len(QUESTIONS)] + " Please." * (number // len(QUESTIONS))
            for number in range(count)
        ]
        return [self._of(self._template.text([{"role": "user", "content": text}])) for text in texts]

    def of_length(self, length: int, number: int = 0) -> BenchPrompt:
        """A text of exactly ``length`` tokens. Another ``number`` gives another text from its beginning on."""
        words = SENTENCE.split()
        for first in range(number, number + len(words)):
            rotated = words[first % len(words) :] + words * (1 + length // len(words))
            cut = self._tokens.encode(f"{number} " + " ".join(rotated[:length]))[:length]
            found = self._of(self._tokens.decode(cut))
            if len(found.tokens) == length:
                return found
        raise InferstreamError(f"No prompt of {length} tokens was found.")

    def behind(self, beginning: BenchPrompt, length: int, number: int) -> BenchPrompt:
        """A text that begins with another one, and goes on with about ``length`` tokens."""
        return self._of(f"{beginning.text} {self.of_length(length, number).text}")

    def _of(self, text: str) -> BenchPrompt:
        return BenchPrompt(text, self._tokens.encode(text))
