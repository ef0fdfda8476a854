"""The parts of a task that most tasks on texts share."""

from collections.abc import Sequence
from typing import Any

from ...schemas.messages import Request
from .base import Ask
from .normal_form import normal_form


class TextTask:
    """A task whose content is one text, and whose answer comes whole and is always the same."""

    def repeats(self, options: Any) -> bool:
        """True: the answer depends on the request alone."""
        return True

    def read(self, request: Request) -> str:
        """The text in normal form: texts that differ only in that share an answer."""
        return normal_form(request.text)  # type: ignore[arg-type]  # the codec has checked it

    def further_steps(self, ask: Ask) -> float:
        """0: the model takes one step."""
        return 0.0

    def tell(self, pieces: Sequence[Any], start: int) -> bytes | None:
        """None: the answer has no pieces."""
        return None
