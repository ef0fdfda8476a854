"""A lock on an open file, of one process. The kernel releases it when the process ends."""

import errno
import logging
import time
from collections.abc import Callable
from typing import IO, Any, Final

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    fcntl: Any = None
else:
    fcntl = _fcntl

log = logging.getLogger(__name__)

INTERVAL_S: Final = 0.2

NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL})
"""What file systems answer that have no locks: some network and FUSE file systems."""


def lock_file(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock the file until it is closed, without waiting. Raises BlockingIOError if another process has it.

    ``shared``: with others that share it.

    Returns False, with a warning, where there are no locks: on Windows, and on some file systems.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(*error.args) from error
        if error.errno not in NO_LOCKS:
            raise
    log.warning("There are no file locks at %s: make sure that only one process writes there.", file.name)
    return False


def lock_when_free(file: IO[Any], waits: Callable[[], object]) -> None:
    """Lock the file until it is closed. ``waits`` is called once, if another process has it."""
    told = False
    while True:
        try:
            lock_file(file)
            return
        except BlockingIOError:
            if not told:
                waits()
            told = True
            time.sleep(INTERVAL_S)
