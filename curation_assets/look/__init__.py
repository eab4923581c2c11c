"""`curation look`: a read-only page over a storage root, on which clips are seen, and rules moved before anything is made.

`candidates.py` has the rows of a subset in columns, which `column_cache.py` and `column_files.py` keep on disk and `blocks.py` goes through block by block, `row_bits.py` sets of them,
`funnel.py` what rules make of them, `views.py` what is shown of that, `media.py` pictures and videos,
`clip_page.py` one clip, `app.py` the addresses, `page/` what the browser gets. Nothing is run here, and nothing is written but these columns, which are no part of the storage root.
"""
