"""Tensor formats, rank rules and the layers made of factors; no configurations and no training here."""

from decompositions.compress import compress
from decompositions.initialise import initialise
from decompositions.materialize import materialize
from decompositions.network_file import load_network, save_network

__all__ = ["compress", "initialise", "load_network", "materialize", "save_network"]
