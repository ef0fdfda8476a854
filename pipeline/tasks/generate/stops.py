"""Finds the strings that end a text, while it grows character by character."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class _State(NamedTuple):
    """The longest end of the text that is a beginning of a string.

    ``depth``: its characters. ``found``: those of the longest string that ends here; 0 for none.
    """

    following: dict[str, int]
    depth: int
    found: int


class StopStrings:
    """The strings of one request: an automaton (Aho and Corasick 1975), so a text is read in linear time.

    The first string that is complete ends the text; of those that end at one character, the longest.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._states = [_State({}, 0, 0)]
        for string in strings:
            self._add(string)
        self._fallbacks = [0] * len(self._states)
        self._link()

    def search(self) -> "StopSearch":
        """For one text."""
        return StopSearch(self)

    def after(self, state: int, character: str) -> int:
        """The state behind one character more."""
        while (found := self._states[state].following.get(character)) is None and state:
            state = self._fallbacks[state]
        return found or 0

    def depth(self, state: int) -> int:
        return self._states[state].depth

    def found(self, state: int) -> int:
        return self._states[state].found

    def _add(self, string: str) -> None:
        state = 0
        for character in string:
            following = self._states[state].following
            if character not in following:
                following[character] = len(self._states)
                self._states.append(_State({}, self._states[state].depth + 1, 0))
            state = following[character]
        self._states[state] = self._states[state]._replace(found=len(string))

    def _link(self) -> None:
        """Give each state the longest shorter end that is a beginning, too; shorter states first."""
        waiting = deque(self._states[0].following.values())
        while waiting:
            state = waiting.popleft()
            for character, following in self._states[state].following.items():
                fallback = self.after(self._fallbacks[state], character)
                self._fallbacks[following] = fallback
                longest = max(self._states[following].found, self._states[fallback].found)
                self._states[following] = self._states[following]._replace(found=longest)
                waiting.append(following)


class StopSearch:
    """Reads one text. ``begun``: how many characters at its end may be the beginning of a string."""

    def __init__(self, strings: StopStrings) -> None:
        self._strings = strings
        self._state = 0
        self.begun = 0

    def read(self, text: str) -> int | None:
        """Read the next part of the text. If a string ends in it, returns where it begins, counted from
        the begin of ``text``, before which it may lie.
        """
        strings = self._strings
        for index, character in enumerate(text):
            self._state = strings.after(self._state, character)
            if size := strings.found(self._state):
                return index + 1 - size
        self.begun = strings.depth(self._state)
        return None
