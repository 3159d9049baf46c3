"""A collector of traces on a port of its own: decodes what it is sent, and can refuse or hang."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        #: Not set: requests are read and not answered.
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Event()
        self.url = ""

    def receive(self, path: str, body: bytes) -> int:
        self.paths.append(path)
        self.asked.set()
        self.answering.wait(30)
        if self.status == 200:
            request = ExportTraceServiceRequest.FromString(body)
            for of_resource in request.resource_spans:
                self.resources.append(attributes_of(of_resource.resource))
                for of_scope in of_resource.scope_spans:
                    self.spans.extend(of_scope.spans)
        return self.status

    def span(self, name: str) -> Any:
        (found,) = [span for span in self.spans if span.name == name]
        return found


def attributes_of(carrier: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in carrier.attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    collecting = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = collecting.receive(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collecting.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collecting
        finally:
            collecting.answering.set()
            server.shutdown()
            thread.join()
