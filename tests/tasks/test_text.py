"""What a task on texts reads of a request; the codec has checked a plain one, but not one of another type."""

import pytest
from support.echo import Echo

from inferstream.pipeline.errors import BadRequest, BlankText, MissingText
from inferstream.schemas.messages import Request


class Ticket(Request, kw_only=True):
    """A request of a task's own type: the codec demands no text of it."""

    subject: str


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        (Ticket(subject="Parcel"), MissingText, "The field `text` is missing: the task echo reads a text."),
        (Ticket(subject="Parcel", text=""), BlankText, "There is nothing to read in the text"),
        (Ticket(subject="Parcel", text=" \n\u00a0"), BlankText, "There is nothing to read in the text"),
    ],
)
def test_a_request_without_a_text_is_refused_with_a_sentence(
    request_: Request, error: type[BadRequest], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        Echo().read(request_)


def test_the_text_is_read_in_normal_form() -> None:
    assert Echo().read(Ticket(subject="Parcel", text=" Where is it? ")) == "Where is it?"
