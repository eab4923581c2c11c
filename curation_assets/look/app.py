"""The addresses of `curation look`, over Starlette, which comes with Dagster's web server.

Media and clips are asked for by shard and id, and found through the tables: no part of an address is a path. All of it is reading, but for labels, which go into the files that
recipes name.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from curation_assets.listing import FORMS, Listing, Place, failures_in, places_of_failures
from curation_assets.look.candidates import TableChanged, TooLarge
from curation_assets.look.clip_page import clip_page
from curation_assets.look.column_cache import ColumnCache
from curation_assets.look.column_files import DamagedColumn
from curation_assets.look.copies import with_copies
from curation_assets.look.funnel import Asked
from curation_assets.look.grid_order import GridQuery
from curation_assets.look.guard import Guard
from curation_assets.look.library import Collections, NoCollection
from curation_assets.look.likeness import CLIP, PICTURE, WORDS, NoLikeness
from curation_assets.look.media import Bytes, NoMedia
from curation_assets.recipes import Recipe
from curation_assets.rules.language import RuleError
from curation_assets.scores.label_file import LabelError
from curation_assets.showing.text import as_text
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.tables import MissingTable, TableStore
from curation_resources.unwritable import Unwritable

LOG = logging.getLogger(__name__)
PAGE = {"": ("index.html", "text/html; charset=utf-8")} | {
    f"page/{name}": (name, kind)
    for name, kind in (
        ("look.css", "text/css; charset=utf-8"),
        ("look.js", "text/javascript; charset=utf-8"),
        ("funnel.js", "text/javascript; charset=utf-8"),
        ("grid.js", "text/javascript; charset=utf-8"),
        ("labels.js", "text/javascript; charset=utf-8"),
        ("clip.js", "text/javascript; charset=utf-8"),
        ("concepts.js", "text/javascript; charset=utf-8"),
        ("lasso.js", "text/javascript; charset=utf-8"),
        ("boxes.js", "text/javascript; charset=utf-8"),
    )
}
"""Address -> file of the page, and its type."""
FAILURES, FAILURES_S = 2000, 0.5
"""Failures that are shown, and seconds for which tables are looked through at a time: of many shards the page asks again and again."""
MAX_RULES = 64
MAX_LABELLED = 5000
MAX_WORDS = 1000
MAX_PICTURE = 32 << 20
ASKED_BY_PAGE = "x-curation-look"
"""The header by which the page says that it is the page."""


def look_app(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    token: str | None = None,
    who: str = "",
    cache: ColumnCache | None = None,
    there: Callable[[], object] = lambda: None,
) -> Guard:
    """The page over a store.

    Args:
        token: see `Guard`.
        who: who labels clips on it.
        cache: where columns are kept; by default among this process's temporary files.
        there: raises what is said instead of any answer, where the store's disk is away.
    """
    asked = _Answers(Collections(store, recipes, who, cache))
    routes = [Route(f"/{address}", _file(name, kind)) for address, (name, kind) in PAGE.items()]
    routes.append(Route("/favicon.ico", lambda request: Response(status_code=204)))
    routes += [Route(f"/api/{name}", _told(getattr(asked, name), there)) for name in _Answers.NAMES]
    routes += [Route(f"/{name}", _told(getattr(asked, name), there)) for name in ("frame", "video", "sample")]
    routes.append(Route("/api/label", asked.label, methods=["POST"]))
    routes.append(Route("/api/picture", asked.picture, methods=["POST"]))
    return Guard(Starlette(routes=routes), token)


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        data = files("curation_assets.look").joinpath("page", name).read_bytes()
        return Response(data, media_type=kind, headers={"cache-control": "no-cache"})

    return answer


def _told(
    answer: Callable[[Request], Response], there: Callable[[], object] = lambda: None
) -> Callable[[Request], Response]:
    """What goes wrong is one sentence, with the status that fits."""

    def told(request: Request) -> Response:
        try:
            there()
            return answer(request)
        except (RuleError, _Unreadable) as error:
            return JSONResponse({"error": str(error)}, 400)
        except TableChanged as error:
            return JSONResponse({"error": str(error), "changed": True}, 409)
        except (NoMedia, NoCollection, NoLikeness, TooLarge, MissingTable) as error:
            return JSONResponse({"error": str(error)}, 404)
        except (StorageError, DamagedColumn, Unwritable, *READ_ERRORS) as error:
            return JSONResponse({"error": str(error).partition("\n")[0]}, 502)
        except HTTPException:
            raise
        except Exception as error:
            LOG.exception("%s", request.url.path)
            said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            return JSONResponse({"error": f"this is a fault of the page's server, whose log says more ({said})"}, 500)

    return told


class _Unreadable(ValueError):
    """A request that says something else than the page does."""


def _whole(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name, "" if default is None else str(default))
    if not text.isdecimal() or len(text) > 9:
        raise _Unreadable(f"{name} is a number, not {text[:40]!r}")
    return int(text)


def _rules(request: Request) -> tuple[Asked, ...]:
    try:
        given = json.loads(request.query_params.get("rules", "[]"))
    except ValueError as error:
        raise _Unreadable("rules are a list as JSON") from error
    fits = isinstance(given, list) and len(given) <= MAX_RULES
    if not fits or not all(isinstance(r, list) and [type(v) for v in r] == [str, bool] for r in given):
        raise _Unreadable(f"rules are up to {MAX_RULES} pairs of a text and whether it is about clips")
    return tuple((text, about) for text, about in given)


def _like(request: Request) -> tuple[str, str] | None:
    for kind in (CLIP, WORDS, PICTURE):
        if what := _text(request, f"like_{kind}").strip():
            return kind, what[:MAX_WORDS]
    return None


def _text(request: Request, name: str) -> str:
    return request.query_params.get(name, "")


class _Answers:
    """What each address answers; those of `NAMES` with JSON."""

    NAMES = (
        "collections",
        "collection",
        "standing",
        "rule",
        "judge",
        "near",
        "agreement",
        "rows",
        "concepts",
        "clip",
        "failed",
    )

    def __init__(self, library: Collections) -> None:
        self.library = library
        self._failing: dict[str, list[Place]] = {}

    def _view(self, request: Request) -> Any:
        return self.library.held(_text(request, "key"), _text(request, "version"))

    def collections(self, request: Request) -> Response:
        return JSONResponse(self.library.listed())

    def collection(self, request: Request) -> Response:
        return JSONResponse(self.library.opened(_text(request, "key")).collection())

    def standing(self, request: Request) -> Response:
        return JSONResponse(self.library.standing(_text(request, "key")))

    def rule(self, request: Request) -> Response:
        view = self._view(request)
        asked = _text(request, "text"), view.candidates.collection.of_clips
        view.funnel.passes(asked)  # that it can be applied
        return JSONResponse(view.rule(asked))

    def judge(self, request: Request) -> Response:
        return JSONResponse(self._view(request).judge(_rules(request)))

    def near(self, request: Request) -> Response:
        rules = _rules(request)
        rule, number = _whole(request, "rule"), _whole(request, "number")
        try:
            return JSONResponse(self._view(request).near(rules, rule, number))
        except IndexError as error:
            raise _Unreadable("there is no such number of a rule") from error

    def agreement(self, request: Request) -> Response:
        return JSONResponse(self._view(request).agreement(_rules(request)))

    async def label(self, request: Request) -> Response:
        """Labels clips. A page of others cannot ask for this: the header would need a leave that is given to nobody."""
        if request.headers.get(ASKED_BY_PAGE) != "1":
            return JSONResponse({"error": "this is for the page of curation look alone"}, 403)
        try:
            given = await request.json()
            clips = [(str(dataset), str(clip)) for dataset, clip in given["clips"]]
            label, holds = str(given["label"]), bool(given["holds"])
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "clips, a label and whether it holds are wanted, as JSON"}, 400)
        if len(clips) > MAX_LABELLED:
            return JSONResponse({"error": f"up to {MAX_LABELLED} clips are labelled at a time"}, 400)
        try:
            await run_in_threadpool(self.library.labels.say, clips, label, holds)
        except LabelError as error:
            return JSONResponse({"error": str(error)}, 400)
        except OSError as error:
            return JSONResponse({"error": f"the file of labels cannot be written: {error}"}, 502)
        return JSONResponse({"labelled": len(clips)})

    async def picture(self, request: Request) -> Response:
        """Takes a picture to compare clips with, which is held in memory and written nowhere."""
        if request.headers.get(ASKED_BY_PAGE) != "1":
            return JSONResponse({"error": "this is for the page of curation look alone"}, 403)
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > MAX_PICTURE:
                return JSONResponse({"error": f"a picture may have {MAX_PICTURE >> 20} MB"}, 413)
        return await run_in_threadpool(
            _told(lambda r: JSONResponse({"id": self._view(r).likeness.remember(data)})), request
        )

    def rows(self, request: Request) -> Response:
        query = GridQuery(
            _rules(request),
            _text(request, "show") or "all",
            _text(request, "where"),
            _text(request, "sort"),
            _text(request, "down") == "1",
            _like(request),
            _whole(request, "offset", 0),
            _whole(request, "limit", 100),
        )
        found = self._view(request).rows(query)
        if query.show == "copies":
            with_copies(self.library.store, found["items"])
        return JSONResponse(found)

    def concepts(self, request: Request) -> Response:
        query = GridQuery(_rules(request), _text(request, "show") or "all", _text(request, "where"))
        return JSONResponse(self._view(request).concepts(query))

    def clip(self, request: Request) -> Response:
        asked = _text(request, "shard"), _text(request, "id")
        view = self._view(request)
        page = clip_page(self.library.store, self.library.recipes, view, asked, _rules(request))
        for verdict in page["rules"]:
            verdict["values"] = {n: as_text(v) for n, v in verdict["values"].items()}
        return JSONResponse(page)

    def failed(self, request: Request) -> Response:
        dataset = _text(request, "dataset")
        if dataset not in self.library.recipes:
            raise NoCollection(f"no recipe declares the dataset {dataset!r}")
        begin = _whole(request, "from") if "from" in request.query_params else 0
        if begin == 0 or dataset not in self._failing:
            self._failing[dataset] = places_of_failures(self.library.store, Listing("failed", [dataset]))
        places, told = self._failing[dataset], set[tuple[str, str]]()
        rows: list[dict[str, Any]] = []
        at, until = begin, time.monotonic() + FAILURES_S
        while at < len(places) and len(rows) <= FAILURES:
            rows += failures_in(self.library.store, Listing("failed", [dataset]), places[at], told)
            at += 1
            if time.monotonic() > until:
                break
        form = FORMS["failed"].names
        said = [{name: row.get(name) for name in form} for row in rows[:FAILURES]]
        following = at if at < len(places) and len(rows) <= FAILURES else None
        return JSONResponse(
            {"rows": said, "more": len(rows) > FAILURES, "next": following, "looked": at, "tables": len(places)}
        )

    def frame(self, request: Request) -> Response:
        number = _whole(request, "n") if "n" in request.query_params else None
        jpeg = self.library.media.picture(_text(request, "shard"), _text(request, "clip"), number)
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=300"})

    def video(self, request: Request) -> Response:
        return _ranged(request, self.library.media.video(_text(request, "shard"), _text(request, "video")))

    def sample(self, request: Request) -> Response:
        key, dataset, clip = (_text(request, n) for n in ("key", "dataset", "clip"))
        if key not in self.library.collections:
            raise NoCollection(f"no subset is called {key!r}")
        return _ranged(request, self.library.media.sample(key, dataset, clip))


def _ranged(request: Request, found: Bytes) -> Response:
    """The bytes that a request asks for: all, or one range, as browsers ask of videos."""
    headers = {"accept-ranges": "bytes", "cache-control": "private, max-age=300"}
    wanted = request.headers.get("range")
    if wanted is None:
        return _streamed(found, 0, found.size, 200, headers)
    unit, _, span = wanted.partition("=")
    first, dash, last = span.strip().partition("-")
    fits = unit.strip() == "bytes" and dash and (first or last) and all(not t or t.isdecimal() for t in (first, last))
    if not fits:
        return _streamed(found, 0, found.size, 200, headers)  # as RFC 9110 has it: what is not understood is left out
    start = int(first) if first else max(0, found.size - int(last))
    end = min(found.size, int(last) + 1) if first and last else found.size
    if start >= end:
        raise HTTPException(416, headers={"content-range": f"bytes */{found.size}"})
    return _streamed(found, start, end, 206, {**headers, "content-range": f"bytes {start}-{end - 1}/{found.size}"})


def _streamed(found: Bytes, start: int, end: int, status: int, headers: Mapping[str, str]) -> Response:
    parts: Iterable[bytes] = found.read(start, end)
    return StreamingResponse(parts, status, {**headers, "content-length": str(end - start)}, media_type=found.type)
