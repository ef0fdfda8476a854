"""What stop strings mean, in a slow and plain way."""

from collections.abc import Sequence


def stop_in(strings: Sequence[str], text: str) -> int | None:
    """Where the first complete string begins; of several that end at one place, the longest. None: there is none."""
    for end in range(1, len(text) + 1):
        if sizes := [len(string) for string in strings if text[:end].endswith(string)]:
            return end - max(sizes)
    return None


def begun_at_the_end(strings: Sequence[str], text: str) -> int:
    """How many characters at the end are the beginning of a string."""
    return max(size for string in strings for size in range(len(string)) if text.endswith(string[:size]))
