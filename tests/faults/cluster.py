"""A Ray cluster on this machine: a head that trains nothing, and nodes that can be killed one by one.

Run as a program it prints the head's address and obeys `replace` on its input: Ray keeps its cluster in
globals of the process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

NUM_NODES = 2


class Cluster:
    """Runs between `__enter__` and `__exit__`."""

    def __init__(self, folder: Path, *, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def __enter__(self) -> Cluster:
        self._log = (self._folder / "cluster.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.address = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def replace_a_node(self) -> None:
        """Kill one with everything on it, as a power cut does, and add a fresh one."""
        assert self._process.stdin is not None
        self._process.stdin.write("replace\n")
        self._process.stdin.flush()
        assert self._answer() == "replaced"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("answer: "):
                return line.removeprefix("answer: ").strip()
        raise RuntimeError((self._folder / "cluster.log").read_text()[-2000:])


def main() -> None:
    from ray.cluster_utils import Cluster as RayCluster

    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(NUM_NODES)]
    cluster.wait_for_nodes()
    print(f"answer: {cluster.address}", flush=True)  # noqa: T201
    for line in sys.stdin:
        if line.strip() == "replace":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            print("answer: replaced", flush=True)  # noqa: T201
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
