"""What is computed? One point: build, reference, method, measures, row."""
