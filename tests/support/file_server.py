"""A web server on 127.0.0.1 that can fail: cut connections, no range requests, error statuses, wrong bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class FileServer:
    """Serves ``files`` by path, and keeps what was requested."""

    files: dict[str, bytes] = field(default_factory=dict)
    with_ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # the next responses end after this number of bytes
    statuses: list[int] = field(default_factory=list)  # the next responses have these statuses
    refusals: dict[str, int] = field(default_factory=dict)  # by path: this number of responses are 401
    hold: Event | None = None  # a cut response stays open until this is set
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header
    tokens: list[str | None] = field(default_factory=list)  # Authorization headers
    url: str = ""


@contextmanager
def serve() -> Iterator[FileServer]:
    state = FileServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(state: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            state.tokens.append(self.headers.get("Authorization"))
            body = state.files.get(self.path)
            if state.refusals.get(self.path, 0) > 0:
                state.refusals[self.path] -= 1
                self.send_error(401)
                return
            if state.statuses or body is None:
                self.send_error(state.statuses.pop(0) if state.statuses else 404)
                return
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and state.with_ranges else 0
            if start >= len(body) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header(
                "Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream"
            )
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            stop = start + state.cuts.pop(0) if state.cuts else len(body)
            self.wfile.write(body[start:stop])
            if stop < len(body) and state.hold:
                self.wfile.flush()
                state.hold.wait()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
