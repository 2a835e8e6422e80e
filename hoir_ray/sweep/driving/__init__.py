"""The driver: which trial starts next, when one is stopped, and how each one ended. No Ray, no Optuna."""
