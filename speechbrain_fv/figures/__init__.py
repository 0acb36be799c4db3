"""Everything that is drawn from a run: the figures, what they show, and report.html."""
