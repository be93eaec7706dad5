"""Clips, decoded once into mapped files: UCF11, and moving digits written in its layout."""
