"""Work in a daemon thread: what it returns or raises, and that an error keeps nothing alive."""

import gc
import weakref
from contextlib import suppress

import pytest

from inferstream.pipeline.daemon_thread import in_daemon_thread


class Held:
    """What a frame of the work holds."""


def test_it_returns_and_raises_what_the_work_does() -> None:
    assert in_daemon_thread(lambda: 7, "work").result(60) == 7
    with pytest.raises(ZeroDivisionError):
        in_daemon_thread(lambda: 1 // 0, "work").result(60)


def test_an_error_that_is_handled_keeps_nothing_alive() -> None:
    found: list[weakref.ref[Held]] = []

    def work() -> None:
        held = Held()
        found.append(weakref.ref(held))
        raise ValueError

    def caller() -> None:
        future = in_daemon_thread(work, "work")
        try:
            future.result(60)
        finally:
            del future

    gc.disable()
    try:
        with suppress(ValueError):
            caller()
        kept = found[0]()
    finally:
        gc.enable()
    assert kept is None
