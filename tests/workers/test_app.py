"""The Faust app around a worker: its pages, its timers, its end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import faust
import httpx
from support.echo_worker import TOPICS, echo_worker

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.kafka_local.ports import free_ports
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.workers.app import app_for
from inferstream.workers.service import Delivery

PATIENCE_S = 20


class RunningApp(NamedTuple):
    app: faust.App
    delivery: Delivery
    session: FakeSession
    web: httpx.AsyncClient

    async def status(self, page: str) -> int:
        return (await self.web.get(page)).status_code


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    for _ in range(PATIENCE_S * 100):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


@asynccontextmanager
async def a_site(directory: Path) -> AsyncIterator[RunningApp]:
    session = FakeSession()
    delivery = Delivery(echo_worker(directory, session))
    (port,) = free_ports(1)
    app = app_for(delivery, web_host="127.0.0.1", web_port=port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as web:
        await app.start()
        try:
            yield RunningApp(app, delivery, session, web)
        finally:
            session.release()
            await app.stop()


async def test_the_pages_show_alive_ready_draining_and_ended(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        serving = site.delivery.hosted.serving

        async def ready() -> bool:
            return await site.status("/readyz") == 200

        await until(ready)
        assert await site.status("/healthz") == 200
        site.session.stall()
        published = site.delivery.hosted.broker.publish(Message(TOPICS.requests, b'{"text":"hello"}'))
        await published
        await asyncio.to_thread(site.session.wait_for_runs, 1)
        serving.drain()
        assert await site.status("/readyz") == 503
        assert await site.status("/healthz") == 200
        site.session.release()
        await site.delivery.ended(site.app)
        assert await site.status("/healthz") == 503


async def test_the_metrics_page_counts_replies(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:

        async def answered() -> bool:
            text = (await site.web.get("/metrics")).text
            return 'inferstream_answers_total{cache="off",task="echo"} 1.0' in text

        async def ready() -> bool:
            return await site.status("/readyz") == 200

        await until(ready)
        await site.delivery.hosted.broker.publish(Message(TOPICS.requests, b'{"text":"hello"}'))
        await until(answered)
        assert "inferstream_event_loop_lag_seconds" in (await site.web.get("/metrics")).text


async def test_only_our_pages_are_served_and_faust_opens_no_kafka_client(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        assert [await site.status(page) for page in ("/", "/graph", "/router/", "/table/")] == [404] * 4
        assert site.app._producer is None
        assert site.app._consumer is None
        assert not site.app.conf.datadir.exists()
