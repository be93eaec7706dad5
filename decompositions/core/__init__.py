"""The vocabulary: a layer that may be replaced (site), the errors of its ranks (frontier), the role of a format."""
