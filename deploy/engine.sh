# A container engine for the tests. Source this file, then call engine_start FOLDER and engine_stop.
# An engine that answers is used. If none answers, root on Debian starts one below FOLDER, until engine_stop.

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

engine_start() {
    if engine_answers; then
        say "engine $(docker version --format '{{.Server.Version}}') answers"
        export DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}
    else
        engine_install && engine_launch "$1" || return
    fi
    compose_find
}

engine_install() {
    if command -v dockerd >/dev/null && command -v iptables >/dev/null; then return; fi
    [ "$(id -u)" = 0 ] || fail "No container engine answers: start Docker, or set DOCKER_HOST to the address of an engine."
    command -v apt-get >/dev/null || fail "No container engine answers, and none can be installed without apt-get: start Docker."
    say "installing docker.io with apt"
    apt_install docker.io || fail "docker.io could not be installed: run 'apt-get update', or start Docker, and try again."
}

engine_launch() {
    [ "$(id -u)" = 0 ] || fail "No container engine answers: start Docker, or set DOCKER_HOST to the address of an engine."
    local home=$1/engine
    mkdir -p "$home"
    exec 9>"$home/lock"
    flock -n 9 || { say "another run uses the engine in $home: waiting until it ends" && flock 9; }
    export DOCKER_HOST=unix://$home/docker.sock
    if engine_answers; then # a killed run left it running
        engine_pid=$(cat "$home/docker.pid")
        say "using the running engine in $home"
        return
    fi
    setsid dockerd --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/docker.pid" \
        --host "$DOCKER_HOST" >"$home/dockerd.log" 2>&1 9>&- &
    engine_pid=$!
    until engine_answers; do
        kill -0 "$engine_pid" 2>/dev/null ||
            fail "The engine stopped at its start, see $home/dockerd.log: $(tail -n 1 "$home/dockerd.log")"
        sleep 0.2
    done
    docker image prune --force --filter until=24h >/dev/null # leftovers of earlier builds
    say "engine $(docker version --format '{{.Server.Version}}') started; its images stay in $home/data"
}

engine_stop() {
    [ -n "${engine_pid:-}" ] || return 0
    kill "$engine_pid" 2>/dev/null || return 0
    while kill -0 "$engine_pid" 2>/dev/null; do sleep 0.1; done
    engine_pid=
}

compose_find() {
    if docker compose version >/dev/null 2>&1; then
        export COMPOSE="docker compose"
    else
        command -v docker-compose >/dev/null || apt_install docker-compose ||
            fail "Docker Compose is missing: install its plugin ('docker compose version' must answer) or docker-compose."
        export COMPOSE="docker-compose"
    fi
    say "compose $($COMPOSE version --short)"
}

apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
    local get=(apt-get -q -q -o Dpkg::Use-Pty=0) install=(install -y --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    "${get[@]}" "${install[@]}" >/dev/null 2>&1 || { "${get[@]}" update && "${get[@]}" "${install[@]}" >/dev/null; }
}
