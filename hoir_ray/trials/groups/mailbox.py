"""Messages between a trial and its workers, in a module that loads nothing: each such trial starts a process for it."""

from __future__ import annotations

import asyncio

Text = str  # a message as JSON, which this process need not understand
Answer = tuple[bool, str | None]  # whether to continue, and why elsewhere if not here
GO_HOME: Answer = (False, None)


class Mailbox:
    """An actor: workers deliver messages and wait for the answer; the trial takes them and gives it."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[tuple[Text, asyncio.Future[Answer]]] = asyncio.Queue()
        self._unanswered: asyncio.Future[Answer] | None = None
        self._closed = False

    async def deliver(self, message: Text) -> Answer:
        """Returns when the trial has dealt with the message."""
        if self._closed:
            return GO_HOME
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        await self._messages.put((message, answer))
        return await answer

    async def take(self, timeout_s: float) -> Text | None:
        """The next message, or None after a time without one."""
        try:
            message, self._unanswered = await asyncio.wait_for(self._messages.get(), timeout_s)
        except TimeoutError:
            return None
        return message

    async def answer(self, reason: str | None) -> None:
        """Let the worker whose message was taken continue; `reason` is why it is to resume elsewhere."""
        if self._unanswered is not None:
            self._unanswered.set_result((True, reason))
            self._unanswered = None

    async def close(self) -> None:
        """Send everybody home who delivers something from now on, or waits for an answer."""
        self._closed = True
        waiting = [self._unanswered] if self._unanswered is not None else []
        while not self._messages.empty():
            waiting.append(self._messages.get_nowait()[1])
        for answer in waiting:
            answer.set_result(GO_HOME)
        self._unanswered = None
