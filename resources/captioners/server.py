"""Captions by a model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import queue
import random
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from curation_resources.captioners.base import UNREADABLE, CaptionAnswer, CaptionRequest
from curation_resources.retry_after import retry_after
from curation_resources.words import plural

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second attempt and at most; doubled from attempt to attempt, with jitter."""
LONGEST_RETRY_AFTER = 300.0
"""A server that asks for more seconds than this is asked again after this many."""
REFUSALS = frozenset({401, 403, 404})
RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are worth another attempt."""


class ServerUnusable(RuntimeError):
    """No request can succeed: the server cannot be reached, refuses the key, or does not have the model."""


@dataclass(frozen=True)
class OpenAICaptioner:
    """A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted ones), by ``POST <url>/chat/completions``.

    Every attempt has a connection of its own. Over one that is kept alive a server that answers twice would shift every later answer by
    one, and the cost of connecting is small beside that of a caption.

    Attributes:
        url: base URL, ending in /v1.
        model: name of the model there.
        max_tokens, temperature, seed: sent with each request.
        concurrency: requests at the same time.
        timeout_s: longest wait for one attempt.
        attempts: attempts per request. 408, 409, 425, 429, 5xx, time-outs, broken connections and unreadable answers are tried again.
        key_env: environment variable that holds the key; without it no key is sent.
    """

    url: str
    model: str
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int | None = 0
    concurrency: int = 16
    timeout_s: float = 120.0
    attempts: int = 5
    key_env: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"captions.url: {self.shown_url} is not an http(s) URL")

    @property
    def identity(self) -> str:
        return self.model

    @property
    def shown_url(self) -> str:
        """The URL without credentials and query, for messages."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request, as they come; at most `concurrency` requests hold their pictures at a time.

        Raises:
            ServerUnusable: one sentence; answers given before it stand.
        """
        answers: queue.Queue[CaptionAnswer | BaseException | None] = queue.Queue()
        running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()

        async def serve() -> None:
            task = asyncio.current_task()
            assert task is not None
            running.set_result((asyncio.get_running_loop(), task))
            await _Conversation(self, answers).run(requests)

        def main(work: Coroutine[Any, Any, None]) -> None:
            try:
                asyncio.run(work)
                answers.put(None)
            except asyncio.CancelledError:
                answers.put(None)
            except BaseException as error:  # noqa: BLE001 - handed over to the consumer, who raises it
                answers.put(error)

        thread = threading.Thread(target=main, args=(serve(),), name="captions", daemon=True)
        thread.start()
        try:
            while (answer := answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            if thread.is_alive():
                loop, task = running.result()
                try:
                    loop.call_soon_threadsafe(task.cancel)
                except RuntimeError:  # the loop has just closed
                    pass
            thread.join()


class _Unreachable(Exception):
    """No connection could be made in any attempt."""


class _Conversation:
    """One run of `OpenAICaptioner.answer` on its event loop."""

    def __init__(self, settings: OpenAICaptioner, answers: queue.Queue[Any]) -> None:
        self.settings, self.answers = settings, answers
        self.unreachable = 0
        self.reached = False
        self._key = os.environ.get(settings.key_env) or None

    async def run(self, requests: Iterable[CaptionRequest]) -> None:
        import httpx

        settings = self.settings
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        timeout = httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s), pool=None)
        limits = httpx.Limits(max_keepalive_connections=0, max_connections=settings.concurrency)
        source = iter(requests)
        readers = ThreadPoolExecutor(min(settings.concurrency, 8), "caption-frames")
        try:
            async with (
                httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits) as client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(settings.concurrency):
                    group.create_task(self._worker(source, client, readers))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            readers.shutdown(wait=False, cancel_futures=True)

    async def _worker(
        self, source: Iterator[CaptionRequest], client: httpx.AsyncClient, readers: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        for request in source:
            started = time.perf_counter()
            try:
                body = await loop.run_in_executor(readers, self._body, request)
            except (OSError, ValueError, RuntimeError) as error:
                self.answers.put(CaptionAnswer(request.key, error=f"{UNREADABLE}: {error}", attempts=0))
                continue
            try:
                answer = await self._ask(request.key, body, client)
                self.unreachable = 0
            except _Unreachable as error:
                self.unreachable += 1
                if not self.reached or self.unreachable >= self.settings.concurrency:
                    raise ServerUnusable(
                        f"captions.url: server {self.settings.shown_url} cannot be reached ({error}); start it or correct the URL"
                    ) from None
                answer = CaptionAnswer(
                    request.key, error=f"server cannot be reached: {error}", attempts=self.settings.attempts
                )
            self.answers.put(replace(answer, seconds=time.perf_counter() - started))

    def _body(self, request: CaptionRequest) -> bytes:
        settings = self.settings
        pictures = [
            {
                "type": "image_url",
                "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")},
            }
            for data in request.load()
        ]
        content: Any = [*pictures, {"type": "text", "text": request.prompt}] if pictures else request.prompt
        body = {
            "model": settings.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "stream": False,
        }
        if settings.seed is not None:
            body["seed"] = settings.seed
        return json.dumps(body).encode()

    async def _ask(self, key: str, body: bytes, client: httpx.AsyncClient) -> CaptionAnswer:
        import httpx

        reason, connected = "", False
        for attempt in range(1, self.settings.attempts + 1):
            pause = random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(self.settings.timeout_s):
                    response = await client.post(self.settings.url.rstrip("/") + "/chat/completions", content=body)
            except (httpx.TimeoutException, TimeoutError) as error:
                connected = connected or not isinstance(error, httpx.ConnectTimeout)
                reason = f"no answer within {self.settings.timeout_s:g} s"
            except httpx.ConnectError as error:
                reason = self._clean(str(error) or "no connection")
            except httpx.HTTPError as error:
                connected, reason = True, f"connection broke: {type(error).__name__}: {self._clean(str(error))}"
            else:
                self.reached = connected = True
                if response.status_code == 200:
                    try:
                        return _read_completion(key, response.content, attempt)
                    except ValueError as error:
                        reason = str(error)
                else:
                    reason = f"status {response.status_code}: {self._clean(_server_message(response.content))}"
                    self._refuse(response.status_code, reason)
                    if response.status_code < 500 and response.status_code not in RETRIED:
                        return CaptionAnswer(key, error=reason, attempts=attempt)
                    pause = max(
                        pause, min(retry_after(response.headers.get("Retry-After")) or 0.0, LONGEST_RETRY_AFTER)
                    )
            if attempt < self.settings.attempts:
                await asyncio.sleep(pause)
        if not connected:
            raise _Unreachable(reason)
        return CaptionAnswer(
            key,
            error=f"{reason} (after {plural(self.settings.attempts, 'attempt')})",
            attempts=self.settings.attempts,
        )

    def _refuse(self, status: int, reason: str) -> None:
        if status not in REFUSALS:
            return
        settings = self.settings
        hint = (
            f"check captions.url and captions.model ({settings.model})"
            if status == 404
            else f"set the environment variable {settings.key_env} to a valid key"
        )
        raise ServerUnusable(f"captions: server {settings.shown_url} refuses requests ({reason}); {hint}")

    def _clean(self, text: str) -> str:
        """A message without the key, which some servers repeat, on one line."""
        text = " ".join(text.split())[:300]
        return text.replace(self._key, "***") if self._key else text


def _server_message(content: bytes) -> str:
    """The message of an error body, in OpenAI's form or as it stands."""
    try:
        body = json.loads(content)
        error = body.get("error", body) if isinstance(body, dict) else body
        message = error.get("message") if isinstance(error, dict) else error
        return str(message if message is not None else body)
    except ValueError:
        return content[:300].decode("utf-8", "replace")


def _asked_pause(value: str | None) -> float:
    """Seconds to wait for a ``Retry-After`` header, 0 if it says nothing."""
    return min(retry_after(value) or 0.0, LONGEST_RETRY_AFTER)


def _read_completion(key: str, content: bytes, attempts: int) -> CaptionAnswer:
    """The answer in a chat completion; ValueError if it is none."""
    try:
        body = json.loads(content)
        text = body["choices"][0]["message"].get("content")
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text if part.get("type") == "text")
        usage = body.get("usage") or {}
        if text is not None and not isinstance(text, str):
            raise TypeError(type(text).__name__)
        return CaptionAnswer(
            key, text or "", None, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), attempts
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"answer is no chat completion: {content[:80]!r}") from error


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
