"""What a number means: accuracy, counts, latency, memory, the row of a result and its statistics."""
