"""Taking videos down: everything that was made of them is removed from storage, from published versions and from Dagster's records.

`plan.py` finds what is stored of a video, `same_bytes.py` what its bytes are, `tables.py` rewrites tables and their tars, `exports.py` amends
published versions, `records.py` what Dagster wrote down, `command.py` is `curation forget`. docs/how-to/takedown.md says what is promised.
"""
