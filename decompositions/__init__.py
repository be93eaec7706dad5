"""Tensor formats, rank rules and the layers made of factors: pure functions of tensors, on torch alone."""

from decompositions.compress import compress
from decompositions.network_file import load_network, save_network

__all__ = ["compress", "load_network", "save_network"]
