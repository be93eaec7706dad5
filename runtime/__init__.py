"""The ground that every package may import: signals, the console, processes, locks, files of weights."""
