"""Group ingest: which videos there are, what their sources say of them, and their bytes."""
