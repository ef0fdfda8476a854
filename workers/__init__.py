"""Hosts a worker in a Faust application: health, readiness, metrics. The only package that imports Faust."""
