"""Connections of diskcache, which are closed when their thread ends and not by `close`."""

import sqlite3
import types
from functools import partial

import diskcache.core


class ThreadConnection(sqlite3.Connection):
    """Is closed when it is freed, without the warning that Python 3.13 and later give for that."""

    def __del__(self) -> None:
        self.close()


def expect_open_connections_of_diskcache() -> None:
    """Let diskcache leave its connections open: it has one for each thread, and closes that of the caller only.

    Without this every test of the cache would warn. Ignoring the warning would hide connections that our own
    code leaves open, since it does not say whose they are.
    """
    module = types.ModuleType("sqlite3")
    module.__dict__.update(vars(sqlite3))
    # The garbage collector may free a connection in another thread than the one that opened it.
    module.__dict__["connect"] = partial(sqlite3.connect, factory=ThreadConnection, check_same_thread=False)
    diskcache.core.sqlite3 = module
