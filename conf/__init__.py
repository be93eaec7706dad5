"""What to run, as data: one YAML file an option, one folder a group; a package, so that installed copies find it."""
