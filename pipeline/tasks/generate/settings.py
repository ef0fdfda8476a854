"""The settings of the task `generate`."""

from typing import Annotated

from msgspec import Meta, Struct

from ...config import Text


class GenerateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Generation of texts.

    Attributes:
        model: the model that answers requests which name none.
        models: further models.
        rows: how many texts each lane generates at once; their memory is taken at the start.
        context: the most tokens of a text, prompt and answer together; at most those that the model can read.
        prefix_tokens: for how many tokens there is memory that keeps what was read of prompts, for those that
            begin the same; 0 keeps nothing.
        shared_prefixes: whether what was read for one tenant serves all. Then a tenant can find out, by its count
            of cached tokens and by the time, how prompts of others begin.
    """

    model: Text = "smollm2-135m-int4"
    models: tuple[Text, ...] = ()
    rows: Annotated[int, Meta(ge=1, le=256)] = 8
    context: Annotated[int, Meta(ge=16, le=1_048_576)] = 2048
    prefix_tokens: Annotated[int, Meta(ge=0, le=16_777_216)] = 4096
    shared_prefixes: bool = False
