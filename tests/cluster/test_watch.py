"""Calls of Ray end with its death, and with a signal, whatever Ray's native code waits for."""

from __future__ import annotations

import signal
import socket
import threading
import time
from types import FrameType

import pytest

from hoir_ray.cluster import watch
from hoir_ray.cluster.watch import Health, RayDiedError, remote_look
from hoir_ray.machine.interrupt import NATIVE_THREAD

FOREVER_S = 3600.0


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(watch, "GRACE_S", 0.05)


def test_a_call_gives_what_its_function_gives() -> None:
    assert Health().call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        Health().call(lambda: 1 // 0)


def test_calls_are_made_from_one_thread_which_ends_with_them() -> None:
    """The system ends Ray's processes with the thread that has started them."""
    health = Health()
    threads = {health.call(threading.current_thread) for _ in range(3)}
    assert len(threads) == 1
    assert threads.isdisjoint({threading.current_thread()})
    assert NATIVE_THREAD not in {thread.name for thread in threads}, "only a thread that is in a call may be left there"
    health.close()
    assert not any(thread.is_alive() for thread in threads)


def test_a_call_that_waits_for_the_dead_is_left() -> None:
    """Like Ray's native code, a lock hears neither a signal nor an exception."""
    held = threading.Lock()
    health = Health(lambda: "the head has died")
    with held:
        with pytest.raises(RayDiedError, match=r"^the head has died; the same command resumes$"):
            health.call(held.acquire)
        assert NATIVE_THREAD in {thread.name for thread in threading.enumerate()}


def test_an_error_after_a_death_is_the_death() -> None:
    def fail() -> None:
        raise OSError("some words of Ray's")

    health = Health(lambda: "the head has died")
    with pytest.raises(RayDiedError, match=r"^the head has died"):
        health.call(fail)
    assert health.death == "the head has died"


def test_a_death_leaves_a_call_time_to_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_S", FOREVER_S)
    health = Health(lambda: "the head has died")

    def notice() -> str:
        while not health.death:
            time.sleep(0.001)
        return "ended in order"

    assert health.call(notice) == "ended in order"


def test_a_signal_is_taken_while_a_call_waits_and_ends_it() -> None:
    called, ended = threading.Event(), threading.Event()

    def wait() -> None:
        called.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def send() -> None:
        called.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=send).start()
        with pytest.raises(KeyboardInterrupt):
            Health().call(wait)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.wait(60)


def test_a_head_elsewhere_is_dead_once_it_takes_no_connection() -> None:
    patience_s = FOREVER_S
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        look = remote_look(address, patience_s=lambda: patience_s)

        def answer() -> None:
            with server.accept()[0] as connection:
                assert connection.recv(100).startswith(b"PRI * HTTP/2.0")
                connection.sendall(b"x")

        thread = threading.Thread(target=answer)
        thread.start()
        assert look() == ""
        thread.join()
    assert look() == ""
    patience_s = 0.0
    assert look() == f"Ray's head at {address} does not answer"


def test_a_head_that_takes_connections_and_says_nothing_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that is stopped, or whose machine is out of memory."""
    monkeypatch.setattr(watch, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert remote_look(address, patience_s=lambda: FOREVER_S)() == ""
        assert remote_look(address, patience_s=lambda: 0.01)() == f"Ray's head at {address} does not answer"
