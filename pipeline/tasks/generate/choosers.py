"""Which token comes next: by the options of a request."""

from ....schemas.generation import GenerateOptions
from ...errors import BadRequest
from ...runtime.generated_row import TokenChooser

LATER = ("temperature", "repetition_penalty", "logprobs", "json_schema", "regex")


def chooser_for(options: GenerateOptions) -> TokenChooser | None:
    """The chooser of a choice; None takes the most likely token. Raises BadRequest."""
    plain = GenerateOptions()
    for name in LATER:
        if getattr(options, name) != getattr(plain, name):
            raise BadRequest(f"The option {name!r} is not supported yet: leave it out.")
    return None
