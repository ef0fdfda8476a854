# The base images. Source this file, then call base_images FOLDER, which sets PYTHON_IMAGE and KAFKA_IMAGE.
# If a registry answers, these are the published images. Otherwise stand-ins are built from Debian's packages and
# Kafka's jars, with this machine's package sources and certificates. They have other names, and stay in the engine
# between runs.

STAND_IN=inferstream-stand-in
HOST_CA=/etc/ssl/certs/host.crt
KAFKA_JARS="from inferstream.pipeline.kafka_local.jars import class_path, jar_folder; print(class_path(jar_folder()))"

base_images() {
    if pulled python:3.11-slim && pulled apache/kafka:4.1.2; then
        say "base images are the published ones"
        return
    fi
    local recipe
    recipe=$(cat deploy/images.sh deploy/kafka-image/* "$(host_ca)" | sha256sum | cut -c 1-12)
    export PYTHON_IMAGE=$STAND_IN/python:$recipe KAFKA_IMAGE=$STAND_IN/kafka:$recipe
    present "$PYTHON_IMAGE" || make_python "$1"
    present "$KAFKA_IMAGE" || make_kafka "$1"
    say "base images are stand-ins: $PYTHON_IMAGE, $KAFKA_IMAGE"
}

present() { docker image inspect "$1" >/dev/null 2>&1; }

pulled() { present "$1" || timeout 300 docker pull -q "$1" >/dev/null 2>&1; }

make_python() {
    [ "$(id -u)" = 0 ] || fail "Base images can be neither pulled nor built: give the engine a registry, or run this as root on Debian."
    command -v debootstrap >/dev/null || apt_install debootstrap ||
        fail "Base images can be neither pulled nor built: debootstrap is missing and apt cannot install it."
    local root=$1/rootfs # --one-file-system: a killed run may have left /proc mounted in it
    rm -rf --one-file-system "$root"
    say "building $PYTHON_IMAGE, since no image can be pulled"
    debootstrap --variant=minbase --include=python3-venv,python-is-python3 \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" "$(apt_mirror)" >"$1/debootstrap.log" 2>&1 ||
        fail "debootstrap failed, see $1/debootstrap.log: $(tail -n 1 "$1/debootstrap.log")"
    host_settings "$root"
    tar -C "$root" -c . | docker import --change "ENV PIP_CERT=$HOST_CA SSL_CERT_FILE=$HOST_CA" - "$PYTHON_IMAGE" >/dev/null
    rm -rf --one-file-system "$root"
}

host_ca() { echo "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"; }

apt_mirror() { apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1; }

# The certificate bundle needs another name, since update-ca-certificates rewrites ca-certificates.crt.
host_settings() {
    rm -rf "$1"/etc/apt/sources.list "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
    mkdir -p "$1/etc/apt/keyrings" "$1/etc/ssl/certs"
    cp -rT /usr/share/keyrings "$1/usr/share/keyrings"
    local name
    for name in sources.list sources.list.d keyrings; do
        [ ! -e "/etc/apt/$name" ] || cp -rT "/etc/apt/$name" "$1/etc/apt/$name"
    done
    apt-config dump | sed -nE '/^Acquire::(Check|http|https|Retries)/p' >"$1/etc/apt/apt.conf.d/99host"
    cp "$(host_ca)" "$1$HOST_CA"
    { echo "[global]" && pip_settings; } >"$1/etc/pip.conf"
}

# The index settings of this machine's pip, without paths: these do not exist inside the image.
pip_settings() {
    "$PYTHON" -m pip config list 2>/dev/null |
        sed -nE "s/^(global|:env:)\.((extra-)?index-url|trusted-host|proxy|default-timeout)='(.*)'$/\2 = \4/p" | sort -u
}

make_kafka() {
    local context=$1/kafka-image jars
    say "building $KAFKA_IMAGE"
    jars=$("$PYTHON" -c "$KAFKA_JARS") || fail "Kafka's jars could not be fetched."
    mkdir -p "$context/libs"
    tr ':' '\n' <<<"$jars" | xargs cp -t "$context/libs"
    cp deploy/kafka-image/* "$context/"
    quietly docker build --tag "$KAFKA_IMAGE" --build-arg "BASE=$PYTHON_IMAGE" "$context"
    rm -rf "$context"
}
