# One image for the worker, the client and the demo, without torch; it does not run as root. See docs/containers.md.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/inferstream
ENV PATH=/opt/inferstream/bin:$PATH
WORKDIR /source
COPY requirements/worker.txt requirements/
RUN pip install --require-hashes -r requirements/worker.txt \
    && pip uninstall -y setuptools \
    && find /opt/inferstream -type d -name tests -prune -exec rm -r {} +
COPY . .
RUN pip install --no-deps .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --home-dir /var/lib/inferstream --shell /usr/sbin/nologin inferstream \
    && install -d -o inferstream -g inferstream /var/lib/inferstream
COPY --from=build /opt/inferstream /opt/inferstream
COPY examples /opt/inferstream/examples
ENV PATH=/opt/inferstream/bin:$PATH \
    INFERSTREAM_HOME=/var/lib/inferstream \
    INFERSTREAM_WORKER_WEB_HOST=0.0.0.0 \
    INFERSTREAM_DEMO_DATA=/opt/inferstream/examples/tickets.jsonl \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
USER inferstream
WORKDIR /var/lib/inferstream
EXPOSE 6066
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:6066/healthz', timeout=4)"]
ENTRYPOINT ["inferstream"]
CMD ["--help"]
