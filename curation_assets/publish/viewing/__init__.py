"""A subset laid out for tools that others made to look at videos and label them, and what people said there read back (`curation export-view`).

A *view* is a folder on this machine: `videos/` (links to files that lie here, copies of all others), `clips.jsonl` (each candidate as a span of its video, its
verdict, its scores), `tracks.jsonl`, `embeddings.npy` (a row for each line of `clips.jsonl`), `spans.json` (the spans as ActivityNet JSON), `view.json`, and a script that opens it in the
tool, to be run in the tool's own environment. `laying_out.py` writes it, `open_lightly.py` and `open_fiftyone.py` are those scripts, `reading_back.py` makes labels of the tags.
"""
