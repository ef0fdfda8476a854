#!/usr/bin/env bash
# Builds the image and runs the container tests on a real engine, compose and Kafka: make test-containers.
# usage: test-containers.sh [pytest arguments]
# INFERSTREAM_CONTAINERS: the folder for the engine that this script starts and for its images; kept between runs.
set -euo pipefail
cd "$(dirname "$0")/.."
SECONDS=0
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
quietly() { local log; log=$("$@" 2>&1) || fail "'$*' failed: $log"; }
fail() { echo "Error: $*" >&2; exit 1; }

. deploy/engine.sh
. deploy/images.sh

work=${INFERSTREAM_CONTAINERS:-${TMPDIR:-/tmp}/inferstream-containers-$(id -u)}
mkdir -p "$work"
trap engine_stop EXIT

[ -x "$PYTHON" ] || fail "$PYTHON was not found: run 'make test-containers', which creates the environment, or set PYTHON."
command -v docker >/dev/null || apt_install docker.io || fail "The docker command is missing: install Docker and try again."
engine_start "$work"
base_images "$work"

export INFERSTREAM_IMAGE=inferstream:test
say "building $INFERSTREAM_IMAGE"
quietly $COMPOSE build triage
say "built, $(docker image inspect --format '{{.Size}}' "$INFERSTREAM_IMAGE" | awk '{printf "%d MB", $1 / 1e6}')"

TESTCONTAINERS_RYUK_DISABLED=true \
    "$PYTHON" -m pytest -q tests/containers -m containers -p no:cacheprovider "$@"
say "done"
