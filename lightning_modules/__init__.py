"""Everything that needs a gradient: the methods, on top; their role and shared steps in `core`; the machinery of
training in `training`."""
