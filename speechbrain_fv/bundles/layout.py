"""The files of a bundle; a module that imports nothing, so that fetching one is quick.

hyperparams.yaml    the encoders, CMWR, the readers, the score unless it is the cosine, and what
                    SpeechBrain's own loaders collect the other files with
model.safetensors   weights and buffers of these modules, and nothing else
config.json         what the inputs are, the calibration, the error rates at its threshold, and the
                    interface, for the hub
custom.py           the interface, for SpeechBrain's own loaders; not read by this package
README.md           the model card
report.json         the evaluation that the card was generated from
"""

HPARAMS_FILE = "hyperparams.yaml"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
REPORT_FILE = "report.json"
CODE_FILE = "custom.py"
FILES = (HPARAMS_FILE, WEIGHTS_FILE, CONFIG_FILE, CARD_FILE, REPORT_FILE, CODE_FILE)
MAX_TEXT_BYTES = 4_000_000
MAX_BYTES = {**dict.fromkeys(FILES, MAX_TEXT_BYTES), WEIGHTS_FILE: 10_000_000_000}
"""The files with the largest size, in bytes, that is loaded."""
