"""The pages of a worker: whether it lives, whether it is ready, and its metrics."""

from http import HTTPStatus
from typing import Final

import faust
from faust.web import Request, Response, View
from faust.web.base import BlueprintManager

from .service import Delivery

PROMETHEUS: Final = "text/plain; version=0.0.4"
STOPPED: Final = (
    "not ready: too many requests in a row became dead letters, so none are read; now and then one is tried, and an "
    "answer ends this"
)


def add_pages(app: faust.App, delivery: Delivery) -> None:
    """Add /healthz, /readyz and /metrics to the app, in place of the pages that Faust brings."""
    serving = delivery.hosted.serving
    app.web.blueprints = BlueprintManager()

    @app.page("/healthz")
    async def healthz(view: View, _: Request) -> Response:
        """200 while the worker runs. An event loop that stands still does not answer at all."""
        return _answer(view, delivery.alive, "alive", "ended")

    @app.page("/readyz")
    async def readyz(view: View, _: Request) -> Response:
        """200 while requests are read: not before the worker has joined its group, while it drains or is stopped."""
        if delivery.alive and serving.stopped:
            return _answer(view, False, "", STOPPED)
        return _answer(view, delivery.alive and serving.ready, "ready", "not ready")

    @app.page("/metrics")
    async def metrics(view: View, _: Request) -> Response:
        """The metrics in the Prometheus text format."""
        return view.bytes(serving.metrics.render(), content_type=PROMETHEUS)


def _answer(view: View, good: bool, yes: str, no: str) -> Response:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return view.text((yes if good else no) + "\n", status=status)
