"""What is on disk? The files of a point, their status, the claim on a point, the key of its reference."""
