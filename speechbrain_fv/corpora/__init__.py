"""Corpora: every module prepares one kind of data and writes the same manifests."""
