"""`curation look`: a read-only page over a storage root, on which clips are seen, and rules moved before anything is made.

`candidates.py` has the rows of a subset in columns, `funnel.py` what rules make of them, `views.py` what is shown of that, `media.py` pictures and videos,
`clip_page.py` one clip, `app.py` the addresses, `page/` what the browser gets. Nothing is run here, and nothing is written.
"""
