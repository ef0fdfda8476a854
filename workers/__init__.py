"""Hosts a worker in a Faust application: health, readiness, metrics. The only place that knows Faust."""
