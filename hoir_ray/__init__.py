"""Sweeps for small networks that represent pictures: high-order layers, searched with Ray and Optuna."""

__version__ = "0.1.0"
