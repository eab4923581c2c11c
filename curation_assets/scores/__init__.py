"""Group scores: what models and meters say of each clip."""
