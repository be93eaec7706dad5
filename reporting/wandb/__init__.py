"""Weights & Biases as the mirror of rows: what a row is called there, live or sent later, and a report of many."""
