"""Group captions: what is said of each clip, and whether it fits the picture."""
