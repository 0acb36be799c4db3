"""SpeechBrain-FV: face-voice association with SpeechBrain."""
