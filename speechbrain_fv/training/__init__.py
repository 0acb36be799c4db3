"""The training of a method: the Brain, its checkpoints and its curves."""
