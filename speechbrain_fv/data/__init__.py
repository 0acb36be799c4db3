"""From the manifests that a corpus preparation wrote to batches of faces and voices."""
