"""A web server on 127.0.0.1 that serves a folder, and misbehaves where it is told to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Loopback:
    """Serves `root` at `url`; a context manager.

    asked   paths in the order in which they were asked for
    faults  path -> what to do instead, one for each request to come; the last one stays.
            "ok", "cut" (half of the body), "stall" (half, then silence), "corrupt" (one bit
            flipped), a status, (status, {header: value}), or bytes to send in place of the file.
    before  called with the path at the start of every request
    """

    def __init__(self, root: Path) -> None:
        self.root, self.asked, self.faults = Path(root), [], {}
        self.before: Callable[[str], None] = lambda path: None
        self.released = threading.Event()  # lets stalled answers end when the test does
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that hangs up is part of the tests
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self) -> Loopback:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.lstrip("/")
        self.asked.append(path)
        self.before(path)
        faults = self.faults.get(path, ["ok"])
        fault = faults.pop(0) if len(faults) > 1 else faults[0]
        there = (self.root / path).is_file()
        status, headers = 200 if there else 404, {}
        body = (self.root / path).read_bytes() if there else b""
        if isinstance(fault, bytes):
            body = fault
        elif fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif not isinstance(fault, str):
            (status, headers), body = fault if isinstance(fault, tuple) else (fault, {}), b""
        half = fault in ("cut", "stall")
        with contextlib.suppress(OSError):  # the client has gone
            request.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                request.send_header(name, str(value))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2] if half else body)
            request.wfile.flush()
        request.close_connection = half
        if fault == "stall":
            self.released.wait(30)
