"""Layers compiled for the CPU: C kernels and the autograd functions that call them."""
