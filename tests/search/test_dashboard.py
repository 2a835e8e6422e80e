"""Optuna's dashboard over a sweep: the whole ledger as a study, on loopback."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import urllib.request
from collections import Counter

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.search.dashboard import export_study, serve_dashboard
from tests.report.made import SINGLE, TEXT, made_sweep

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.mark.parametrize("text", [TEXT, SINGLE], ids=["front", "single"])
def test_the_study_holds_every_ended_trial(tmp_path, text):
    sweep = made_sweep(tmp_path, text=text)
    study = export_study(sweep, tmp_path / "study.log")
    states = Counter(t.state.name for t in study.trials)
    expected = Counter({"FINISHED": "COMPLETE", "PRUNED": "PRUNED"}.get(r.state, "FAIL") for r in sweep.records)
    assert states == expected
    assert [t.user_attrs["trial"] for t in study.trials] == [r.trial for r in sweep.records]
    if text == SINGLE:
        assert study.best_trial.user_attrs["trial"] == sweep.leaderboard()[0].trial
    else:
        assert {t.user_attrs["trial"] for t in study.best_trials} == {r.trial for r in sweep.front()}


def status(port: int, method: str, path: str, *, host: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse().status
    connection.close()
    return answer


def test_it_is_served_on_loopback(tmp_path):
    sweep = made_sweep(tmp_path, num_trials=6)
    address, ready, stop = [], threading.Event(), threading.Event()

    def show(at: str) -> None:
        address.append(at)
        ready.set()

    thread = threading.Thread(target=serve_dashboard, args=(sweep,), kwargs={"show": show, "stop": stop})
    thread.start()
    try:
        assert ready.wait(60)
        assert address[0].startswith("http://127.0.0.1:")
        root = address[0].removesuffix("dashboard/")
        with urllib.request.urlopen(root + "api/studies") as answer:
            assert [s["study_name"] for s in json.load(answer)["study_summaries"]] == ["made"]
        port = int(root.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)):  # which says nothing
            assert status(port, "GET", "/api/studies") == 200
            assert status(port, "GET", "/api/studies", host="evil.example") == 421
            assert status(port, "GET", "/api/studies", host=f"localhost:{port}") == 200
            for method in ("DELETE", "POST", "PUT", "PATCH"):
                assert status(port, method, "/api/studies/0") == 405
            assert status(port, "GET", "/api/studies/0") == 200
    finally:
        stop.set()
        thread.join()


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(RequestError, match=r"pip install hoir-ray\[dashboard\]"):
        serve_dashboard(made_sweep(tmp_path, num_trials=1))
