"""Data sets: files in, batches out; each module writes its split down."""
