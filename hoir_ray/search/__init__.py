"""The search: samplers, evidence from earlier trials, and early stopping. The only home of Optuna."""
