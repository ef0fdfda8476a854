"""Hosts the worker in a Faust app: Faust provides the web server, the timers, and starts and stops services.

Requests do not flow through Faust's agents, which commit past unfinished records (docs/decisions/0006). So the app
opens no connection to Kafka of its own, and keeps no tables and no folder.
"""

import errno
import logging
import socket
from collections.abc import Iterable

import faust
from faust.app.base import BootStrategy
from mode.types import ServiceT

from ..pipeline.errors import UsageError
from ..pipeline.serving.hosting import Hosted
from ..pipeline.serving.shutdown import run_until_signaled
from ..pipeline.serving.vitals import REPORT_S, TICK_S
from ..pipeline.serving.watchdog import Watchdog
from .pages import add_pages
from .service import Delivery

log = logging.getLogger(__name__)


class WebOnly(BootStrategy):
    """Starts the web server and no other part of Faust."""

    def producer_only(self) -> Iterable[ServiceT]:
        return self.web_server()


class HostApp(faust.App):
    """A Faust app that hosts services, and writes nothing to disk or to Kafka."""

    BootStrategy = WebOnly
    producer_only = True
    mundane_level = "debug"

    async def on_first_start(self) -> None:
        """Override: creates none of the folders for tables."""

    async def on_start(self) -> None:
        """Override: creates no consumer."""
        self.finalize()


def run(hosted: Hosted, *, web_host: str, web_port: int) -> None:
    """Host the worker until a signal drains it; the entry point `inferstream.hosts` names this function.

    Port 0 takes a free one. Raises the error that ended the worker, and UsageError if the port cannot be opened.
    """
    port = web_port or _free_port(web_host)
    run_until_signaled(lambda: _host(hosted, web_host, port), hosted.drain, hosted.limit_s)


def app_for(delivery: Delivery, *, web_host: str, web_port: int) -> faust.App:
    """The app that hosts a worker: the worker as a service, health, readiness and metrics as pages, timers."""
    hosted = delivery.hosted
    app = HostApp(
        f"inferstream-{hosted.serving.name}",
        web_host=web_host,
        web_bind=web_host,
        web_port=web_port,
        topic_disable_leader=True,
        topic_allow_declare=False,
    )
    app.service(delivery)  # type: ignore[arg-type]  # Faust takes an instance as well as a class
    add_pages(app, delivery)
    vitals = hosted.vitals()

    async def report() -> None:
        vitals.report()

    async def tick() -> None:
        vitals.tick()

    app.timer(REPORT_S)(report)
    app.timer(TICK_S)(tick)
    return app


async def _host(hosted: Hosted, web_host: str, web_port: int) -> None:
    delivery = Delivery(hosted)
    app = app_for(delivery, web_host=web_host, web_port=web_port)
    with Watchdog():
        try:
            await _start(app, web_host, web_port)
            await delivery.ended(app)
        finally:
            await app.stop()
    delivery.check()
    if app.crash_reason is not None:
        raise app.crash_reason


async def _start(app: faust.App, host: str, port: int) -> None:
    try:
        await app.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} of {host} is taken: name another with --web-port, or 0 for a free one."
            ) from error
        raise UsageError(f"Cannot listen on port {port} of {host}: {error.strerror}.") from error
    log.info("Health, readiness and metrics: http://%s:%d/healthz, /readyz, /metrics.", host, port)


def _free_port(host: str) -> int:
    """A port on which nothing listens: Faust does not accept port 0."""
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])
