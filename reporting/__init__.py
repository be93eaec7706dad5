"""Report a sweep: read rows back, write tables, figures, the page, and W&B."""
