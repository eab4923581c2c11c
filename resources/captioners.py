"""What turns pictures and a prompt into text: models of `transformers` in this process, or an OpenAI-compatible server.

Both take requests and give one answer per request, by its key and in any order. A request that fails is an answer with an error; only
what makes every request fail (no weights, no server, a refused key) is raised.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from curation_resources.devices import choose_device, cpu_has_bf16
from curation_resources.extras import require
from curation_resources.torchvision_ops import ensure_torchvision
from curation_resources.weights import LOCAL, MissingWeights, WrongWeights, file_sha256, hub_folder, local_path

if TYPE_CHECKING:
    import httpx
    import torch
    from PIL import Image

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
class CaptionRequest:
    """One question.

    Attributes:
        key: identifies the answer.
        prompt: the text.
        load: gives the JPEGs in time order, when their turn comes; raises OSError or ValueError if they cannot be had.
    """

    key: str
    prompt: str
    load: Callable[[], Sequence[bytes]] = field(default=tuple, repr=False)


@dataclass(frozen=True)
class CaptionAnswer:
    """What came of a request: `text` (may be empty) or `error`, never both.

    Attributes:
        prompt_tokens, completion_tokens: as the backend counts them; None if it does not say.
        attempts: requests made.
        seconds: from the first attempt to the answer; of a batch, its share.
    """

    key: str
    text: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    attempts: int = 1
    seconds: float = 0.0


class Captioner(Protocol):
    """A backend. `identity` names the model for the table's `model` column."""

    @property
    def identity(self) -> str: ...

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request, as they come."""
        ...


class LazyCaptioner:
    """A backend that is loaded when the first question comes."""

    def __init__(self, load: Callable[[], Captioner]) -> None:
        self._load = cache(load)

    @property
    def identity(self) -> str:
        return self._load().identity

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """As the backend; raises what its loading raises."""
        return self._load().answer(requests)


# ---- OpenAI-compatible servers


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
                self.answers.put(CaptionAnswer(request.key, error=f"frames cannot be read: {error}", attempts=0))
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
                    pause = max(pause, _retry_after(response.headers.get("Retry-After")))
            if attempt < self.settings.attempts:
                await asyncio.sleep(pause)
        if not connected:
            raise _Unreachable(reason)
        return CaptionAnswer(
            key, error=f"{reason} (after {self.settings.attempts} attempts)", attempts=self.settings.attempts
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


def _retry_after(value: str | None) -> float:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date (RFC 9110, 10.2.3); 0 if it says nothing."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else 0.0


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
        raise ValueError(f"answer is no chat completion: {type(error).__name__}: {content[:80]!r}") from error


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# ---- transformers


def transformers_identity(model: str) -> str:
    """What identifies the model in a fingerprint without loading it: for a folder the hash of its files, else the hub id."""
    folder = local_path(model)
    return f"{LOCAL} sha256:{_folder_sha256(folder)}" if folder.is_dir() else model


def _folder_sha256(folder: Path) -> str:
    import hashlib

    files = sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and p.suffix in (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
    )
    return hashlib.sha256("\n".join(f"{p.name} {file_sha256(p)}" for p in files).encode()).hexdigest()[:16]


def load_transformers_captioner(
    model: str,
    *,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    batch: int = 4,
    device: str = "auto",
    dtype: str = "auto",
) -> TransformersCaptioner:
    """Loads an image-text-to-text model of `transformers` (Qwen-VL, LLaVA-OneVision, Idefics/SmolVLM, ...).

    Args:
        model: hub id or folder.
        max_tokens: longest answer.
        temperature: 0 decodes greedily; else answers are drawn.
        seed: set before each batch.
        batch: requests per batch.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto (bfloat16 on GPUs and CPUs that have it, else float16 and float32), float32, bfloat16 or float16.

    Raises:
        MissingWeights: the model cannot be had.
        WrongWeights: it is there but is no such model, cannot be read, or has no chat template. Code in it is never run.
    """
    require(f"the caption model {model}", "torch", "torchvision", "transformers", "huggingface_hub")
    ensure_torchvision()
    import torch
    import transformers

    folder = local_path(model)
    if folder.is_dir():
        identity = transformers_identity(model)
    elif Path(model).is_absolute() or model.startswith((".", "~", "$", "file:")):
        raise MissingWeights(
            f"weights of caption model {model} are missing: no such folder; set captions.model to a folder or a hub id"
        )
    else:
        folder = hub_folder(model, f"caption model {model}", "captions.model")
        identity = f"{model.partition('@')[0]}@{folder.name[:12]}"
    device = choose_device(device)
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        network = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, _dtype(dtype, device)), trust_remote_code=False
        )
    except Exception as error:  # the library raises many classes for a folder that it cannot use
        reason = str(error).strip().split("\n")[0][:300]
        raise WrongWeights(f"caption model {model} cannot be loaded: {type(error).__name__}: {reason}") from error
    if not getattr(processor, "chat_template", None):
        raise WrongWeights(
            f"caption model {model} has no chat template, so it cannot be asked; set captions.model to an instruction-tuned model"
        )
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return TransformersCaptioner(processor, network.to(device).eval(), identity, max_tokens, temperature, seed, batch)


def _dtype(dtype: str, device: str) -> str:
    if dtype != "auto":
        return dtype
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "bfloat16" if cpu_has_bf16() else "float32"


class TransformersCaptioner:
    """A model of `transformers` in this process; made by `load_transformers_captioner`."""

    def __init__(
        self, processor: Any, network: Any, identity: str, max_tokens: int, temperature: float, seed: int, batch: int
    ) -> None:
        self._processor, self._network, self._identity = processor, network, identity
        self._max_tokens, self._temperature, self._seed, self._batch = max_tokens, temperature, seed, batch

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dtype(self) -> str:
        return str(self._network.dtype).removeprefix("torch.")

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request; the pictures of the next batch are decoded while one is computed."""
        source = iter(requests)
        with ThreadPoolExecutor(min(8, self._batch), "caption-frames") as readers:
            loading = self._load(source, readers)
            while loading:
                following = self._load(source, readers)
                ready: list[tuple[CaptionRequest, list[Image.Image]]] = []
                for request, pictures in loading:
                    try:
                        ready.append((request, pictures.result()))
                    except (OSError, ValueError, RuntimeError, SyntaxError) as error:
                        yield CaptionAnswer(request.key, error=f"frames cannot be read: {error}", attempts=0)
                if ready:
                    yield from self._answer_batch(ready)
                loading = following

    def _load(
        self, source: Iterator[CaptionRequest], readers: ThreadPoolExecutor
    ) -> list[tuple[CaptionRequest, Future[list[Image.Image]]]]:
        return [(request, readers.submit(_pictures, request)) for request in islice(source, self._batch)]

    def _answer_batch(self, batch: list[tuple[CaptionRequest, list[Image.Image]]]) -> Iterator[CaptionAnswer]:
        """A batch that fails is halved, so that one request which the model cannot take costs no other its answer."""
        import torch

        try:
            yield from self._generate(batch)
        except Exception as error:  # noqa: BLE001 - whatever the model makes of a request is recorded in its row
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            if len(batch) == 1:
                reason = str(error).strip().split("\n")[0][:300]
                yield CaptionAnswer(batch[0][0].key, error=f"model failed: {type(error).__name__}: {reason}")
                return
            middle = len(batch) // 2
            yield from self._answer_batch(batch[:middle])
            yield from self._answer_batch(batch[middle:])

    def _generate(self, batch: list[tuple[CaptionRequest, list[Image.Image]]]) -> list[CaptionAnswer]:
        import torch

        started = time.perf_counter()
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": picture} for picture in pictures),
                        {"type": "text", "text": request.prompt},
                    ],
                }
            ]
            for request, pictures in batch
        ]
        inputs = self._processor.apply_chat_template(
            conversations,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        inputs = inputs.to(self._network.device, dtype=self._network.dtype)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature > 0:
            sampling = {"do_sample": True, "temperature": self._temperature}
        torch.manual_seed(self._seed)
        with torch.inference_mode():
            output = self._network.generate(**inputs, max_new_tokens=self._max_tokens, **sampling)
        fresh = cast("torch.Tensor", output)[:, inputs["input_ids"].shape[1] :]
        texts = self._processor.batch_decode(fresh, skip_special_tokens=True)
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        seconds = (time.perf_counter() - started) / len(batch)
        return [
            CaptionAnswer(request.key, text, None, int(asked), self._length(row), 1, seconds)
            for (request, _), text, asked, row in zip(batch, texts, prompt_tokens, fresh, strict=True)
        ]

    def _length(self, row: torch.Tensor) -> int:
        """Generated tokens up to and with the first end mark; what follows it in a batch is padding."""
        ends = self._network.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        for i, token in enumerate(row.tolist()):
            if token in ends:
                return i + 1
        return len(row)


def _pictures(request: CaptionRequest) -> list[Image.Image]:
    from PIL import Image

    return [Image.open(io.BytesIO(data)).convert("RGB") for data in request.load()]
