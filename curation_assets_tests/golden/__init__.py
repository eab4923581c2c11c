"""Golden tables: what the graph says of a fixed set of videos, kept in the repository, so that a release of something that it uses, or a change here, that moves
a score is seen as such.

`making.py` makes the tables and reads and writes the kept ones; `python -m curation_assets_tests.golden.making` writes them anew. `videos/` are made pictures, coded once: shots with
hard cuts, sound and a loud and a soft part; a smaller, brighter copy of their first two thirds without sound; a title that stands and then moves; a fade through black.
"""
