"""The ground that every package may stand on: signals, the console, processes, locks. It knows nothing of networks."""
