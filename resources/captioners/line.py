"""A captioner that questions of shard after shard go to in one stream, so that it does not run empty at their borders.

What belongs here: whose answer is whose, and the thread that asks. What does not: what is asked (`curation_assets.captions`), and who answers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from curation_resources.captioners.base import CaptionAnswer, Captioner, CaptionRequest

MAX_KEPT = 512
"""Answers at most that wait for somebody who asked ahead; more than that are of shards that turned out not to be made."""


@dataclass
class _Asker:
    """Somebody who waits for answers: those that came, and what ended the line."""

    keys: set[str]
    answers: deque[CaptionAnswer] = field(default_factory=deque)
    error: BaseException | None = None


class CaptionLine:
    """A captioner with a thread of its own; itself a captioner. Several may ask it at a time.

    Args:
        captioner: who answers. Its `answer` is handed one iterator of questions, which may go on after it came to an end.
        ahead: questions at most that are taken before somebody waits for their answers; they come after those that somebody waits for.
    """

    def __init__(self, captioner: Captioner, ahead: int) -> None:
        self.captioner, self.most_ahead = captioner, ahead
        self._news = threading.Condition()
        self._waiting: deque[CaptionRequest] = deque()
        self._ahead: dict[str, CaptionRequest] = {}
        self._under_way: set[str] = set()
        self._kept: dict[str, CaptionAnswer] = {}
        self._askers: list[_Asker] = []
        self._running = False

    @property
    def identity(self) -> str:
        return self.captioner.identity

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request, as they come; those that were asked ahead may be there already.

        Raises:
            Exception: what the captioner raises, to all who wait.
        """
        asked = list(requests)
        asker = _Asker({r.key for r in asked})
        with self._news:
            self._askers.append(asker)
            for request in asked:
                kept = self._kept.pop(request.key, None)
                self._ahead.pop(request.key, None)
                if kept is not None and kept.error is None:
                    asker.keys.discard(request.key)
                    asker.answers.append(kept)
                elif request.key not in self._under_way:
                    self._waiting.append(request)
            self._start()
        try:
            while True:
                with self._news:
                    while not asker.answers and asker.keys and asker.error is None:
                        self._news.wait()
                    if not asker.answers:
                        if asker.error is not None:
                            raise asker.error
                        return
                    answer = asker.answers.popleft()
                yield answer
        finally:
            with self._news:
                self._askers.remove(asker)
                if asker.keys:  # whoever asked goes before all was answered
                    self._waiting = deque(r for r in self._waiting if r.key not in asker.keys)
                    self._ahead.clear()

    def ask_ahead(self, requests: Sequence[CaptionRequest]) -> int:
        """Puts questions behind all others, as many as there is room for; somebody will ask them. Returns how many of them are on their way."""
        with self._news:
            known = {*self._ahead, *self._under_way, *self._kept, *(r.key for r in self._waiting)}
            for request in requests:
                if request.key not in known and len(self._ahead) < self.most_ahead:
                    self._ahead[request.key] = request
                    known.add(request.key)
            self._start()
            return sum(r.key in known for r in requests)

    def _start(self) -> None:
        """Begins to ask if there is something to ask and nobody does. Under the lock."""
        if not self._running and (self._waiting or (self._ahead and self._askers)):
            self._running = True
            threading.Thread(target=self._run, name="caption-line").start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for answer in self.captioner.answer(_Questions(self)):
                self._deliver(answer)
        except BaseException as raised:  # noqa: BLE001 - handed over to all who wait, who raise it
            error = raised
        with self._news:
            unanswered, self._under_way = self._under_way, set()
            for asker in self._askers:
                if error is not None:
                    asker.error = error
                asker.keys -= unanswered
            if error is not None:
                self._waiting.clear()
                self._ahead.clear()
            self._running = False
            self._start()
            self._news.notify_all()

    def _take(self) -> CaptionRequest | None:
        """The next question: one that somebody waits for, else one of those ahead while somebody waits at all."""
        with self._news:
            if not threading.main_thread().is_alive():
                return None
            if self._waiting:
                request = self._waiting.popleft()
            elif self._ahead and (self._askers or self._under_way):
                request = self._ahead.pop(next(iter(self._ahead)))
            else:
                return None
            self._under_way.add(request.key)
            return request

    def _deliver(self, answer: CaptionAnswer) -> None:
        with self._news:
            if answer.key not in self._under_way:
                raise RuntimeError(f"{self.identity} answered a question that was not asked, or answered it twice")
            self._under_way.remove(answer.key)
            asker = next((a for a in self._askers if answer.key in a.keys), None)
            if asker is not None:
                asker.keys.discard(answer.key)
                asker.answers.append(answer)
                self._news.notify_all()
            else:
                self._kept[answer.key] = answer
                while len(self._kept) > MAX_KEPT:
                    del self._kept[next(iter(self._kept))]


@dataclass
class _Questions:
    """The questions of a line. After it has come to an end it may have more, for captioners that look again."""

    line: CaptionLine

    def __iter__(self) -> Iterator[CaptionRequest]:
        return self

    def __next__(self) -> CaptionRequest:
        request = self.line._take()
        if request is None:
            raise StopIteration
        return request
