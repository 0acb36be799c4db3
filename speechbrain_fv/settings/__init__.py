"""From a YAML and a command line to checked settings, and errors that a person can read."""
