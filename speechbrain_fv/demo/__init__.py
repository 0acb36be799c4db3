"""The page that `speechbrain-fv serve` opens: which face is speaking, which voice is it."""
