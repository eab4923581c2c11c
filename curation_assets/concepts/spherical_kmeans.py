"""Spherical k-means: centres of length 1 such that the sum of cosines of vectors with their nearest centre is as large as may be.

Dhillon and Modha, Concept Decompositions for Large Sparse Text Data Using Clustering, 2001: the mean of a cluster's vectors, brought to length 1, is the
centre with which their cosines are largest. The rounds are FAISS's.
"""

from __future__ import annotations

import numpy as np


def first_centers(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """float32 (k, d): where k-means begins, vectors drawn by the seed, each different; fewer than `clusters` if there are not so many."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    chosen: list[np.ndarray] = []
    seen: set[bytes] = set()
    for row in order.tolist():
        if len(chosen) == clusters:
            break
        if (own := vectors[row].tobytes()) not in seen:
            seen.add(own)
            chosen.append(vectors[row])
    return np.stack(chosen) if chosen else np.zeros((0, vectors.shape[1]), np.float32)


def fit_centers(vectors: np.ndarray, first: np.ndarray, iterations: int) -> np.ndarray:
    """float32 (k, d): the centres after some rounds.

    FAISS splits the largest cluster where one is left without vectors. It computes in one thread: with others, its sums come out in another
    order and centres differ, so that a fit would depend on the machine.

    Args:
        vectors: float32 (n, d) of length 1.
        first: float32 (k, d) where it begins, k at most n.
        iterations: rounds.
    """
    if len(first) in (0, len(vectors)):
        return first.copy()
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        rounds = faiss.Kmeans(
            vectors.shape[1],
            len(first),
            niter=iterations,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=-(-len(vectors) // len(first)) + 1,
        )
        rounds.train(np.ascontiguousarray(vectors, np.float32), init_centroids=np.ascontiguousarray(first, np.float32))
    finally:
        faiss.omp_set_num_threads(threads)
    centers = np.array(rounds.centroids, np.float32)
    return centers / np.linalg.norm(centers, axis=1, keepdims=True)
