"""Pages over a storage root, served on a free port by a thread of the test."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

from hoir_ray.serve import serve


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    address: str  # without the slash at its end

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def get(self, path: str, *, method: str = "GET", headers: Mapping[str, str] = {}) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@contextmanager
def served(uri: str, **options: Any) -> Iterator[Served]:
    """Serve `uri` while the block runs."""
    stop, shown = threading.Event(), Queue[str]()
    show = lambda address, needs_token: shown.put(address)  # noqa: E731
    thread = threading.Thread(target=serve, args=(uri,), kwargs={"port": 0, "stop": stop, "show": show, **options})
    thread.start()
    try:
        yield Served(shown.get(timeout=60).rstrip("/"))
    finally:
        stop.set()
        thread.join(60)
