"""One training loop for every task: batches are indices into data on the device, many optimizer steps at a time."""
