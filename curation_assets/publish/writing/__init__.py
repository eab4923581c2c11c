"""Versions of what a subset publishes: samples in their layouts, embeddings, track lists, and the card that describes them."""
