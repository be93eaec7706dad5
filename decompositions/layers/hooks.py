"""What torch calls before and after the passes of a layer: a layer that takes its place would lose it."""

from __future__ import annotations

from torch import nn

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def has_hooks(layer: nn.Module) -> bool:
    """Return True if something is called before or after the passes of a layer."""
    return any(getattr(layer, hooks) for hooks in HOOKS)
