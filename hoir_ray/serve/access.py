"""Checks of every request: its Host header, its token where there is one, and that it changes nothing."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hoir_ray.machine.loopback import is_own_name

COOKIE = "hoir_token"
# Of every answer that sets none of its own. Text of sweeps is escaped; this is for what would slip through.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of whole documents made from a sweep, which run their own charts, in an origin of their own, and reach nothing.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Access:
    """The middleware that lets requests through, and gives answers their headers.

    Attributes:
        app: What answers them.
        hosts: Names beyond those of loopback under which the pages may be asked for. The page of another site could
            reach them under its own name (DNS rebinding), and is to get no answer.
        token: What a request must bring, in `?token=` once or in the cookie that this sets; None on loopback.
    """

    app: ASGIApp
    hosts: frozenset[str] = frozenset()
    token: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        answer = self.app if refusal is None else refusal
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Any | None:
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse("this name is not one of this server's\n", status_code=421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("these pages change nothing\n", status_code=405, headers={"Allow": "GET, HEAD"})
        if self.token is None or _equal(_cookie(headers), self.token):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        if not any(name == "token" and _equal(value, self.token) for name, value in query):
            return PlainTextResponse("a token is needed: ?token=...\n", status_code=401)
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        path = "/" + scope["path"].lstrip("/")  # or '//name' would lead to another host
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
        return answer

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        return is_own_name(host) or (name if port.isdecimal() and name else host).lower().strip("[]") in self.hosts


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _with_headers(send: Send) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
        await send(message)

    return send_on
