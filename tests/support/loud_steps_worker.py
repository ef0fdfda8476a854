"""A program: a worker of the task `steps` that makes capitals, as if it had another kind of device."""

import sys
from typing import Any

from support.steps_worker import SlowSession, main


class LoudSession(SlowSession):
    """Makes a capital of each letter."""

    def run(self, feeds: Any) -> Any:
        made = super().run(feeds)
        return [[[ord(chr(int(code)).upper()) for code in row] for row in made[0]]]


if __name__ == "__main__":
    main(*sys.argv[1:3], session=LoudSession)
