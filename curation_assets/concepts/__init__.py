"""Concepts: clusters of clips that show alike, found without labels, and clips that say the same within them."""
