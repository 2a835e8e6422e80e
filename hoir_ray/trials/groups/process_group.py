"""The process group of a trial's workers, on the addresses that Ray uses and on no other."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from datetime import timedelta
from typing import Any

import ray
import ray.train
import torch
from ray.train.backend import Backend, BackendConfig
from ray.train.torch import TorchConfig
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

TIMEOUT = timedelta(minutes=30)
CLOSE_S = 5.0
_SIOCGIFADDR = 0x8915
_store: TCPStore | None = None


class NodeTorchConfig(TorchConfig):
    """Backend of Ray Train whose rendezvous store listens on one address; Ray's own listens on every interface."""

    @property
    def backend_cls(self) -> type[Backend]:
        return NodeBackend


class NodeBackend(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        has_gpus = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        size = len(worker_group)
        host, port = worker_group.execute_single(0, open_store, size)
        ray.get(
            [
                worker_group.execute_single_async(
                    rank, join, "nccl" if has_gpus else "gloo", rank, size, host=host, port=port
                )
                for rank in range(size)
            ]
        )

    def on_training_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        worker_group.execute(name_ranks)

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        futures = worker_group.execute_async(leave)
        ray.wait(futures, num_returns=len(futures), timeout=CLOSE_S)


def open_store(size: int) -> tuple[str, int]:
    """Open the rendezvous store in this process; returns its host and port."""
    global _store
    host = _own_address()
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    port = listener.getsockname()[1]
    _store = TCPStore(
        host,
        port,
        size,
        is_master=True,
        wait_for_workers=False,
        timeout=TIMEOUT,
        master_listen_fd=listener.detach(),
        use_libuv=False,  # which takes no open listener before torch 2.7
    )
    return host, port


def join(backend: str, rank: int, size: int, *, host: str, port: int) -> None:
    """Connect this process with the others."""
    interface = interface_of(_own_address())
    if interface:
        # Without it gloo takes the address of the host's name, which on many machines is one of loopback.
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, interface)
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    store = _store or TCPStore(host, port, size, is_master=False, timeout=TIMEOUT, use_libuv=False)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)


def name_ranks() -> None:
    """Set the variables that torchrun sets; without them Lightning would start the other workers itself."""
    context = ray.train.get_context()
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(context.get_world_rank()), str(context.get_world_size())
    os.environ["LOCAL_RANK"], os.environ["NODE_RANK"] = str(context.get_local_rank()), str(context.get_node_rank())
    os.environ["LOCAL_WORLD_SIZE"] = str(context.get_local_world_size())


def leave() -> None:
    """Disconnect, and give the GPU's memory back."""
    global _store
    if distributed.is_initialized():
        distributed.destroy_process_group()
    _store = None
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _own_address() -> str:
    """This machine's, as Ray knows it."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def interface_of(address: str) -> str | None:
    """The network interface that has this IPv4 address, or None if that cannot be told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("16sH14s", name.encode()[:15], socket.AF_INET, bytes(14)))
            try:
                fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # it has no IPv4 address
            if socket.inet_ntoa(request.tobytes()[20:24]) == address:
                return name
    return None
