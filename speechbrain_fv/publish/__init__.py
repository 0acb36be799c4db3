"""From a finished training to a bundle that others can load: export, model card, check."""
