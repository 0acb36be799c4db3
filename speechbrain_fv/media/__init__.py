"""Image and audio files: the one place that decodes them, for training and use alike."""
