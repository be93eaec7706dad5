"""The metrics in which a weight can be approximated, one module each; see `core.metric` for what they are."""
