"""Turn a composed configuration into checked points, and a point into one directory of results."""
