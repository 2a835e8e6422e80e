"""Ray's client for its Jobs API with limits: of an answer's size and time, and of a followed log's silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ANSWER_S = 10.0  # of silence
WHOLE_ANSWER_S = 60.0
MAX_ANSWER_BYTES = 2**26
MAX_MESSAGE_BYTES = 2**22  # of a followed log
SILENCE_S = 15.0  # of a followed log, after which the cluster is asked whether the job still runs
CHUNK = 2**16


def bounded_client(address: str) -> JobSubmissionClient:
    """Ray's client, whose answers may otherwise be of any size and never end."""
    from ray.job_submission import JobSubmissionClient

    def read(response: Any, **_: object) -> None:
        response._content = read_bounded(response.iter_content(CHUNK))

    class Bounded(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            bounds = {"stream": True, "timeout": ANSWER_S, "allow_redirects": False, "hooks": {"response": read}}
            return super()._do_request(method, endpoint, **{**bounds, **options})

        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            url = f"{self._address}/api/jobs/{job_id}/logs/tail"
            async for text in _tail(url, headers=self._headers, cookies=self._cookies, ssl=self._ssl_context):
                yield text

    return Bounded(address)


def read_bounded(chunks: Iterator[bytes]) -> bytes:
    """An answer that comes within a time and is no larger than a limit.

    Raises:
        ConnectionResetError: If it is not.
    """
    end, content = time.monotonic() + WHOLE_ANSWER_S, bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_ANSWER_BYTES or time.monotonic() > end:
            raise ConnectionResetError(
                f"the answer was not complete after {WHOLE_ANSWER_S:g} s, or after {MAX_ANSWER_BYTES:,} bytes"
            )
    return bytes(content)


async def _tail(url: str, *, headers: Any, cookies: Any, ssl: Any) -> AsyncIterator[str]:
    """Messages of a job's log as they come, and an empty one after every `SILENCE_S` without any.

    Ray's server never reads from this connection, so it answers no pings: whether it still lives, others must find out.

    Raises:
        RuntimeError: If the connection ends otherwise than by the server's closing it.
    """
    import aiohttp

    handshake = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(headers=headers, cookies=cookies, timeout=handshake) as session:
        socket = await session.ws_connect(url, ssl=True if ssl is None else ssl, max_msg_size=MAX_MESSAGE_BYTES)
        next_message: asyncio.Task[Any] | None = None
        try:
            while True:
                next_message = next_message or asyncio.ensure_future(socket.receive())
                done, _ = await asyncio.wait([next_message], timeout=SILENCE_S)
                if not done:
                    yield ""
                    continue
                message, next_message = next_message.result(), None
                if message.type == aiohttp.WSMsgType.TEXT:
                    if message.data:
                        yield message.data
                elif message.type == aiohttp.WSMsgType.ERROR:
                    raise RuntimeError(f"the log's connection broke: {socket.exception()}")
                elif message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED}:
                    if socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                        raise RuntimeError("the log's connection was closed unexpectedly")
                    return
        finally:
            if next_message is not None:
                next_message.cancel()
