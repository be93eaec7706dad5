"""The modules that take the place of dense layers, and what they need of a dense layer's geometry."""
