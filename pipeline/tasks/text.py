"""The parts of a task that most tasks on texts share."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct

from ...schemas.messages import Request
from ..errors import BlankText, MissingText
from .base import Ask
from .normal_form import normal_form
from .options import checked_options

NOTHING_TO_READ: Final = "There is nothing to read in the text: it has no letter, digit or sign that shows."


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a task that has none."""


class TextTask:
    """A task whose content is one text, and whose answer comes whole and is always the same.

    ``option_type`` is the type of its options; ``resumes`` see `base.resumes`. A subclass has `name`, `model`,
    `version` and `digest`, and the methods `prepare` and `finish` of `Task`.
    """

    name: str
    option_type: ClassVar[type[Struct]] = NoOptions
    chosen_by: Mapping[str, str] = MappingProxyType({})
    resumes: ClassVar[bool] = False

    def options(self, given: Mapping[str, Any]) -> Any:
        """The options as ``option_type``. Raises UnknownOption or WrongType."""
        return checked_options(self.name, given, self.option_type)

    def repeats(self, options: Any) -> bool:
        """True: the answer depends on the request alone."""
        return True

    def read(self, request: Request) -> str:
        """The text in normal form: texts that differ only in that share an answer. Raises MissingText or BlankText.

        The codec has checked a plain Request, but not one of a type of the task's own.
        """
        if request.text is UNSET:
            raise MissingText(f"The field `text` is missing: the task {self.name} reads a text.")
        text = normal_form(request.text)
        if not text:
            raise BlankText(NOTHING_TO_READ)
        return text

    def further_steps(self, ask: Ask) -> float:
        """0: the model takes one step."""
        return 0.0

    def tell(self, pieces: Sequence[Any], start: int) -> bytes | None:
        """None: the answer has no pieces."""
        return None
