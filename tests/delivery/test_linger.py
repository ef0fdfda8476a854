"""Under load items are sent together, else at once. The order stays."""

import asyncio

import pytest

from inferstream.pipeline.delivery.linger import Linger


class Load:
    """A device that is busy or not, and the items that were sent."""

    def __init__(self) -> None:
        self.busy = False
        self.sent: list[int] = []
        self.linger: Linger[int] = Linger(self.sent.append, lambda: self.busy)

    async def has_sent(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.sent) < count:  # noqa: ASYNC110 - what is waited for is the timer of the linger
                await asyncio.sleep(0)


@pytest.fixture
def load() -> Load:
    return Load()


async def test_while_the_device_is_idle_nothing_lingers(load: Load) -> None:
    load.linger.put(1)
    assert load.sent == [1]


async def test_while_it_is_busy_items_are_sent_together(load: Load) -> None:
    load.busy = True
    for number in range(5):
        load.linger.put(number)
    assert load.sent == []
    await load.has_sent(1)
    assert load.sent == [0, 1, 2, 3, 4]


async def test_an_item_put_when_it_is_idle_again_does_not_pass_one_that_lingers(load: Load) -> None:
    load.busy = True
    load.linger.put(1)
    load.busy = False
    load.linger.put(2)
    assert load.sent == []
    await load.has_sent(2)
    load.linger.put(3)
    assert load.sent == [1, 2, 3]
