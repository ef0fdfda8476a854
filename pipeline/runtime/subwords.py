"""The SentencePiece vocabulary of a translator: text to token ids and back."""

from collections.abc import Iterable
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from ..errors import ModelError

END = 0
SPACE = "\u2581"


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

        self._unknown = int(self._pieces.unk_id())

    @property
    def size(self) -> int:
        """The number of tokens."""
        return int(self._pieces.get_piece_size())

    @property
    def characters(self) -> frozenset[str]:
        """All characters that it has. Of any other one a translation has nothing."""
        pieces = self._pieces
        special = (pieces.is_control, pieces.is_unknown, pieces.is_byte, pieces.is_unused)
        words = (
            pieces.id_to_piece(token)
            for token in range(self.size)
            if not any(kind(token) for kind in special)
        )
        return frozenset("".join(words)) - {SPACE}

    def starts_word(self, token: int) -> bool:
        """Whether there is a space before this token."""
        return bool(self._pieces.id_to_piece(token).startswith(SPACE))

    def encode(self, text: str) -> list[int]:
        """The token ids of ``text``, without the end."""
        ids: list[int] = self._pieces.encode(text)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids, without an end. Unknown ones are left out."""
        text: str = self._pieces.decode([token for token in tokens if token != self._unknown])
        return text


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
