"""Runs work that may never return: in a thread of its own, for which a process that ends does not wait."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_daemon_thread(work: Callable[[], T], name: str) -> Future[T]:
    """What ``work`` will return or raise. Nothing stops it: it goes on when nothing waits for it any more.

    A caller deletes its variable with the future before an error leaves its frame: the traceback would keep the future,
    which keeps the traceback, and so all that the frames hold, as a model.
    """
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(work, future), name=name, daemon=True).start()
    return future


def _run(work: Callable[[], T], future: Future[T]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del future  # as a caller
