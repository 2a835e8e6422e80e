"""One trial as Ray runs it: attempt, workers, checkpoints, messages and failure."""
