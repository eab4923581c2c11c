"""Sample videos: how they are drawn, and what `curation demo` and `curation samples` do with them."""

FOLDER = ".demo"
"""Where the sample videos of `curation demo` go unless told, and where the recipes that this package carries expect them."""
EXAMPLE_NAMES = ("hdvila", "hdvila_videos", "acav100m", "t2v_hq", "trackverse", "video_embeddings")
"""Example recipes for which `curation samples --example` has rows."""
