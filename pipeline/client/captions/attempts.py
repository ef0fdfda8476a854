"""Finals are sent until they are answered: after a refusal under overload, and after a lost connection."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from ....schemas.translation import TranslateOutput
from ...errors import BrokerError, InferstreamError, NotWritable, ShuttingDown, Timeout, UnknownModel
from .requests import Reply, output_of_reply

FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 2.0
JITTER: Final = 0.2


async def answered(
    reply: Reply, again: Callable[[float], Awaitable[Reply]], timeout_s: float
) -> TranslateOutput:
    """The translation in the reply. After a transient error ``again``, which gets the seconds left, sends once more.

    Raises the last error when no time is left, and any other error at once.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    pause_s = FIRST_PAUSE_S
    while True:
        await asyncio.wait([reply])
        try:
            return output_of_reply(reply)
        except InferstreamError as error:
            wait_s = max(pause_s, (error.retry_after_ms or 0) / 1e3) * random.uniform(1, 1 + JITTER)
            if not _passes(error) or loop.time() + wait_s >= end:
                raise
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
        reply = await again(end - loop.time())


def _passes(error: InferstreamError) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, BrokerError):
        return not isinstance(error, NotWritable)
    return error.retryable and not isinstance(error, Timeout | UnknownModel | ShuttingDown)
