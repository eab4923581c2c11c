"""Media opened and decoded: which stream, which pictures in display order, at which times, and what of a damaged file is lost."""
