"""Two storage roots, recipes, published versions or commits held against each other, row by row: what appeared, vanished and changed, and by how much
(`curation compare`).

`clip_matching.py` says which clip is which where boundaries moved, `row_differences.py` holds two tables against each other, column by column as `value_distances.py` has it, `roots.py` all tables of two roots
in parts that `spilling.py` puts on disk,
`recipes.py` what two recipes select, `versions.py` the samples of two versions; `commits.py` makes the roots of two commits; `pictures.py` shows what differs most.
"""
