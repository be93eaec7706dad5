"""The ground that every package may import: signals, the console, processes, locks. It knows nothing of networks."""
