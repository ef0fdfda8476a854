"""The error of a flight, which several requests get."""

from typing import TypeVar

from ..errors import InferstreamError

E = TypeVar("E", bound=InferstreamError)


def without_frames(error: InferstreamError) -> InferstreamError:
    """The error, without the frames of a lane or of the preparing thread in it and its causes.

    They refer to the flight, which keeps the error: only the garbage collector, which runs rarely, would free both.
    """
    part: BaseException | None = error
    while part is not None and part.__traceback__ is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def own_copy(error: E) -> E:
    """The error for one request: raising it adds the request's frames, which refer to the flight, as above."""
    own = type(error).__new__(type(error), *error.args)
    vars(own).update(vars(error))
    own.__cause__ = error.__cause__
    return own
