"""An extension of Griffe: SpeechBrain's headings of docstrings under the names that NumPy has."""

import re

import griffe

HEADINGS = {"Arguments": "Parameters", "Example": "Examples"}
HEADING = re.compile(rf"^( *)({'|'.join(HEADINGS)})\n\1-+$", re.M)


class SpeechBrainDocstrings(griffe.Extension):
    """Renames the headings, so that the NumPy parser knows the sections."""

    def on_instance(self, *, obj, **kwargs):
        """Is called with every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = HEADING.sub(_renamed, obj.docstring.value)


def _renamed(match):
    heading = HEADINGS[match[2]]
    return f"{match[1]}{heading}\n{match[1]}{'-' * len(heading)}"
