"""Who may ask: this machine alone, or whoever has the token. What belongs here: the door. What does not: what is behind it (`app.py`)."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a browser of this machine may reach a server that answers to it alone: a page of others that has its name point here has another."""
COOKIE = "curation_look"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer: the page takes nothing from elsewhere, and nobody else shows it or what it is made of."""


class Guard:
    """Lets requests by that may ask, and puts `HEADERS` on the answers.

    Args:
        app: what they are asking.
        token: what a request must bring, in its address once and in a cookie from then on; None lets this machine alone ask.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        answer = self._refused(headers, scope)
        await (answer or self._app)(scope, receive, with_headers)

    def _refused(self, headers: dict[str, str], scope: Scope) -> ASGIApp | None:
        if self._token is None:
            if urlsplit(f"//{headers.get('host', '')}").hostname in HERE:
                return None
            return PlainTextResponse("This page answers to this machine alone.\n", 403)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if self._is_token(query.get("token", [""])[0]):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None and self._is_token(cookie.value):
            return None
        return PlainTextResponse("Open the address with the token that `curation look` has printed.\n", 401)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())
