"""Which points? The grid of a sweep, the check before it, its plan, its launchers, its summary."""
