"""What people look at after a sweep: rows read back, tables, figures, the page, W&B."""
