"""Models as they are published: exported, checked, uploaded, fetched, and loaded safely."""
