#!/usr/bin/env bash
# Writes the lock files in this folder: names, versions and hashes for every platform, without an index.
# usage: lock.sh PYTHON [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
shift

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
"$python" -m venv "$temporary"
"$temporary/bin/pip" install -q --disable-pip-version-check uv

lock() { # FILE OPTIONS...
    local file=requirements/$1.txt
    shift
    echo "$file"
    "$temporary/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@" pyproject.toml -o "$file"
}

lock dev --group editable --extra cpu --extra dev "$@"
same="-c requirements/dev.txt" # one version of each package everywhere
lock run $same --group editable --extra cpu --extra faust --extra kafka-local "$@"
lock worker $same --extra cpu --extra faust "$@"
lock client $same "$@"
lock optimize $same --group editable --extra cpu --extra dev --extra optimize "$@"
lock fuzz $same --group editable --extra cpu --extra fuzz "$@"

"$temporary/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
echo pipeline/kafka_local/jars.lock
"$temporary/bin/python" -m inferstream.pipeline.kafka_local.jars
