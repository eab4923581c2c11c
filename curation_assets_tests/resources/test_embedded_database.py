"""The database that sorts and counts on disk."""

from pathlib import Path

from curation_resources.embedded_database import embedded_database


def test_no_bar_is_drawn_among_what_a_run_says(tmp_path: Path) -> None:
    """In cursors too, which have the settings of their connection."""
    for path in (None, tmp_path / "sorted.duckdb"):
        with embedded_database(path, {"threads": 1}) as database:
            for connection in (database, database.cursor()):
                drawn = connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()
                assert drawn == [(False,)]
