"""Columns of text as codes and one dictionary, however they were read."""

from __future__ import annotations

import pyarrow as pa


def coded(texts: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    """Texts as codes and a dictionary, in one piece; the dictionary may have texts that no code names."""
    found = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    return found.unify_dictionaries().combine_chunks() if isinstance(found, pa.ChunkedArray) else found
