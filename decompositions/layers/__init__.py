"""The modules that take the place of dense layers, and the geometry that they take over."""
