"""The web pages of a worker: liveness, readiness, metrics, releases."""

from http import HTTPStatus
from typing import Final

import faust
from faust.web import Request, Response, View
from faust.web.base import BlueprintManager

from .service import Delivery

PROMETHEUS: Final = "text/plain; version=0.0.4"
STOPPED: Final = (
    "not ready: too many requests in a row became dead letters, so none of {tasks} are read; after each "
    "cooldown one is tried, and reading goes on when it is answered"
)


def add_pages(app: faust.App, delivery: Delivery) -> None:
    """Add /healthz, /readyz, /metrics and /releases to the app, in place of Faust's own pages."""
    serving = delivery.hosted.serving
    app.web.blueprints = BlueprintManager()

    @app.page("/healthz")
    async def healthz(view: View, _: Request) -> Response:
        """200 while the worker runs. A blocked event loop does not answer at all."""
        return _answer(view, delivery.alive, "alive", "ended")

    @app.page("/readyz")
    async def readyz(view: View, _: Request) -> Response:
        """200 while requests are read; 503 before the group is joined, while it drains, while the breaker is open."""
        if delivery.alive and serving.stopped:
            return _answer(view, False, "", STOPPED.format(tasks=", ".join(serving.stopped)))
        return _answer(view, delivery.alive and serving.ready, "ready", "not ready")

    @app.page("/metrics")
    async def metrics(view: View, _: Request) -> Response:
        """The metrics in the Prometheus text format."""
        return view.bytes(serving.metrics.render(), content_type=PROMETHEUS)

    @app.page("/releases")
    async def releases(view: View, _: Request) -> Response:
        """What each alias means and what is served, as JSON; an empty list if no model is named by an alias."""
        follower = serving.follower
        return view.json([] if follower is None else follower.status)


def _answer(view: View, good: bool, yes: str, no: str) -> Response:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return view.text((yes if good else no) + "\n", status=status)
