"""Copy rows to Weights & Biases, during a run or later, and make a report of many rows there."""
