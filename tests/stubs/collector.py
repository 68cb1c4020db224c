"""An OpenTelemetry collector: a real OTLP/HTTP receiver on 127.0.0.1 that keeps the spans it is sent."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """`endpoint` is where a gateway sends its spans to."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, Any] = {}
        self.bodies: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, fits: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once they fit; the SDK sends them every few seconds."""
        deadline = time.monotonic() + 30
        while not fits(list(self.spans)):
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.02)
        return list(self.spans)

    def take(self, body: bytes) -> None:
        told = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        for each in told.resource_spans:
            self.resource = attributes(each.resource.attributes)
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        return Handler


def attributes(told: Any) -> dict[str, Any]:
    """Attributes by name, as Python's values."""
    pairs: list[KeyValue] = list(told)
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
