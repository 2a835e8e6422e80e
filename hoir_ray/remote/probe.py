"""Probe of a cluster from inside, as JSON on standard output; it is sent as text, before this package is there.

Its argument is JSON: packages to look for, and a folder and a file name in it that every machine is to find, or null.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import socket
import sys
from typing import Any

MARK = "hoir-probe: "


def find_versions(packages: list[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def find_blind_hosts(file: str) -> list[str]:
    """Machines of the cluster that do not see the file."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not os.path.exists(file):  # noqa: PTH110
        return [socket.gethostname()]
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    see = ray.remote(num_cpus=0)(os.path.exists)
    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    answers = {}
    for node in nodes:
        if node["Alive"] and node["Resources"].get("CPU"):
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answers[node["NodeManagerHostname"]] = see.options(scheduling_strategy=where).remote(file)
    return [host for host, answer in answers.items() if not ray.get(answer, timeout=120)]


def main() -> None:
    question = json.loads(sys.argv[1])
    answer: dict[str, Any] = {"versions": find_versions(question["packages"]), "host": socket.gethostname()}
    if question["file"] is not None:
        answer["blind"] = find_blind_hosts(question["file"])
    print(MARK + json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
