"""Training loads neither torch's compiler nor scipy's signals, and both are there for whoever asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRAINED = """
import sys, torch
from hoir_ray.training.loop import Measured, train
from tests.training.curve import score, surface_config, surface_data, surface_network
def fit():
    return train(surface_network(), surface_data(), surface_config(), Measured(score=score)).best_metrics["val_psnr_db"]
found = fit()
print(sorted({"torch._dynamo.eval_frame", "sympy", "scipy.stats", "torchvision", "pandas"} & set(sys.modules)))
"""
COMPILED = """
import lightning.fabric.wrappers as wrappers
import torch._dynamo.config as config

assert config is torch._dynamo.config is sys.modules["torch._dynamo.config"]
assert torch._dynamo.config.__spec__.loader.get_code("torch._dynamo.config")
from torch._dynamo.eval_frame import OptimizedModule
assert torch._dynamo.OptimizedModule is OptimizedModule is not wrappers.OptimizedModule

compiled = torch.compile(torch.nn.Linear(2, 2), backend="eager")
assert wrappers._unwrap_compiled(compiled)[0] is compiled._orig_mod
assert isinstance(compiled, wrappers.OptimizedModule)
assert issubclass(OptimizedModule, wrappers.OptimizedModule)
assert not isinstance(compiled._orig_mod, wrappers.OptimizedModule)
optimizer = torch.optim.Adam(compiled.parameters())  # some of its methods were wrapped when nothing was loaded
compiled(torch.ones(1, 2)).sum().backward()
torch.compile(lambda: optimizer.zero_grad(), backend="eager")()
optimizer.step()
assert fit() == found

import scipy.signal
from scipy.signal.windows import hamming
assert list(scipy.signal.hamming(5)) == list(hamming(5))
assert scipy.signal.get_window("hann", 4).shape == (4,)
assert type(scipy.signal) is type(sys) is type(torch._dynamo)
print("compiled")
"""
LOOKED_AT = """
import inspect, sys
from hoir_ray.training.loop import Measured, train
for module in list(sys.modules.values()):
    inspect.ismodule(module) and (getattr(module, "__file__", 0), getattr(module, "__warningregistry__", 0))
assert "torch._dynamo.eval_frame" not in sys.modules
from torch._dynamo import *
print("torch._dynamo.eval_frame" in sys.modules, callable(export))
"""


def run(code: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_training_loads_neither_and_both_work_for_whoever_asks():
    assert run(TRAINED + COMPILED) == ["[]", "compiled"]


def test_whoever_looks_at_all_modules_loads_nothing():
    assert run(LOOKED_AT) == ["True True"]


def test_what_is_loaded_already_stays_as_it_is():
    code = "import torch._dynamo as real, torch; import hoir_ray.training.loop, lightning.fabric.wrappers as wrappers"
    assert run(f"{code}\nprint(wrappers.OptimizedModule is real.OptimizedModule)") == ["True"]
