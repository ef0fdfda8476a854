"""Which step makes a variant that another step names."""

from collections.abc import Sequence

from ....errors import UsageError


def made_by(name: str, makers: Sequence[str], kind: str) -> str:
    """The step among ``makers`` that makes the variant ``name``, which may be the name of the step itself.

    ``kind``: of the step that names it, for the error. Raises UsageError.
    """
    found = [maker for maker in makers if name == maker or name.startswith(f"{maker}-")]
    if not found:
        raise UsageError(
            f"The step {kind} is of {name!r}, which no step makes; they make {', '.join(makers)}."
        )
    return max(found, key=len)
