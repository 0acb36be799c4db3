"""The trained model in use: faces and voices of people's own files."""
