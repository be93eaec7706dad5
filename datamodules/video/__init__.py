"""Clips, decoded once into memory-mapped files: UCF11, and moving digits written in its layout."""
