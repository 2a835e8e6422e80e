"""One training loop for every task: batches are indices into data on the device, many optimizer steps at a time."""

from hoir_ray.machine.deferred import defer

defer()  # before the first import of Lightning
