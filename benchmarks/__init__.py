"""Speed claims as commands: ratios against a named peer or a bare loop, in one run."""
