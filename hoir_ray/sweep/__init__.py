"""The sweep: search space, searcher, stopping, trials and workers. The only home of Ray and Optuna."""
