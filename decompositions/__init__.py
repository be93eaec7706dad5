"""Tensor formats, rank rules and the layers made of factors; no configurations and no training here."""

from decompositions.layers.base import initialise
from decompositions.moved import moved_module as __getattr__  # noqa: F401
from decompositions.moved import register
from decompositions.network.compress import compress
from decompositions.network.materialize import materialize
from decompositions.network.serialization import load_network, save_network

__all__ = ["compress", "initialise", "load_network", "materialize", "save_network"]

register()
