"""Data sets: modules that turn files into batches and describe their split in words."""
