"""Which processes? A point whose processes torchrun starts, on one machine or several."""
