"""Exported clips: cut out of the raw videos, exact to the frame, and muxed so that every reader reads them alike."""
