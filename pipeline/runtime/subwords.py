"""The SentencePiece vocabulary of a translator: text to token ids and back."""

from collections.abc import Iterable
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from ..errors import ModelError

END = 0


class Subwords:
    """The vocabulary of one model. Several threads may call it at once."""

    def __init__(self, path: Path | str) -> None:
        """Read ``vocab.*.spm``. Raises ModelError for another format, or if the token 0 is not the end."""
        try:
            self._pieces = SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise ModelError(f"Cannot read the vocabulary {path}: {_first_line(error)}.") from error
        if self._pieces.eos_id() != END:
            raise ModelError(
                f"{path} has the end of a text as token {self._pieces.eos_id()}; only 0 is supported."
            )

    @property
    def size(self) -> int:
        """The number of tokens."""
        return int(self._pieces.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The token ids of ``text``, without the end."""
        ids: list[int] = self._pieces.encode(text)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids, without an end."""
        text: str = self._pieces.decode(list(tokens))
        return text


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
