"""What is shown of a table: counts, unicode histograms, pictures. Plain values and `Markdown`, small enough for an event log."""
