"""Faces in photos."""
