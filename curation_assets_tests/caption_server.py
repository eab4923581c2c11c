"""A real OpenAI-compatible server on the loopback whose answers are hashes of the pictures it got, and which misbehaves on request."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DROP, CUT, JUNK, TWICE, EMPTY = "drop", "cut", "junk", "twice", "empty"
"""Faults beside status codes: hang up, hang up in mid-answer, answer no JSON, answer twice, answer nothing."""


def caption_of(pictures: Sequence[bytes]) -> str:
    """What the server says of pictures."""
    return "pictures " + " ".join(hashlib.sha256(p).hexdigest()[:12] for p in pictures)


@dataclass
class Seen:
    """One request as the server saw it."""

    pictures: tuple[bytes, ...]
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass
class CaptionServer:
    """A context manager.

    Attributes:
        fault: (caption, how often it was asked before) -> None for a good answer, a status code, or a fault named above.
        delay: (caption) -> seconds before the answer.
        headers: sent with answers other than 200.
    """

    fault: Callable[[str, int], Any] = lambda caption, times: None
    delay: Callable[[str], float] = lambda caption: 0.0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "fault on request"
    seen: list[Seen] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0

    def __enter__(self) -> CaptionServer:
        self._at_once, self._lock = 0, threading.Lock()
        server = self

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: object) -> None:
                return

            def do_POST(self) -> None:
                server._serve(self)

        self._http = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        content = body["messages"][0]["content"]
        parts = content if isinstance(content, list) else []
        pictures = tuple(
            base64.b64decode(p["image_url"]["url"].partition("base64,")[2]) for p in parts if p["type"] == "image_url"
        )
        caption = caption_of(pictures) if parts else f"refined: {content}"
        with self._lock:
            times = self.asked[caption]
            self.asked[caption] += 1
            self.seen.append(Seen(pictures, body, dict(handler.headers)))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.delay(caption))
        with self._lock:
            self._at_once -= 1
        self._reply(handler, self.fault(caption, times), caption, 100 * len(pictures))

    def _reply(self, handler: BaseHTTPRequestHandler, fault: Any, caption: str, prompt_tokens: int) -> None:
        answer = {
            "choices": [{"message": {"role": "assistant", "content": "" if fault == EMPTY else caption}}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": len(caption.split())},
        }
        data, status, headers = json.dumps(answer).encode(), 200, {}
        if isinstance(fault, int):
            data, status, headers = json.dumps({"error": {"message": self.message}}).encode(), fault, self.headers
        elif fault == JUNK:
            data = b"<html>gateway</html>"
        elif fault == DROP:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        for _ in range(2 if fault == TWICE else 1):
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[: len(data) // 2] if fault == CUT else data)
        handler.wfile.flush()
        if fault == CUT:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True


def random_faults(seed: int, faults: Sequence[Any], most: int) -> Callable[[str, int], Any]:
    """Draws for each caption how often it fails before it succeeds, up to `most` times, and how."""

    def fault(caption: str, times: int) -> Any:
        rng = random.Random(f"{seed} {caption}")
        failures = [rng.choice(list(faults)) for _ in range(rng.randint(0, most))]
        return failures[times] if times < len(failures) else rng.choice([None, TWICE])

    return fault
