"""The parts of the W&B tracker; `hoir_ray.trackers.wandb` is what others see of them."""
