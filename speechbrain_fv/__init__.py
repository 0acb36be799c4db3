"""SpeechBrain-FV: face-voice association with SpeechBrain."""

__version__ = "0.1.0"
