"""The options of a run, as data: one YAML file each, a folder for each group; a package, so that it is installed."""
