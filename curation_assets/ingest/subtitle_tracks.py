"""Which of a video's subtitle tracks is meant where one is wanted: of a list of languages, or of each language.

What belongs here: choosing among the tracks of `raw_shards.subtitles`. What does not: reading their files (`subtitles.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Track: TypeAlias = Mapping[str, Any]
"""An element of `raw_shards.subtitles`: `language`, `automatic`, `cues`."""


def best_track(tracks: Sequence[Track], languages: Sequence[str]) -> Track | None:
    """The track that is taken where one is: preferred languages first, then those made by people, then the source's order.

    Args:
        tracks: of one video.
        languages: tags, best first; `en` takes `en-US`, and another variant only where the same is not to be had.
    """
    if not tracks:
        return None
    return tracks[min(range(len(tracks)), key=lambda i: (*_preference(tracks[i], languages), i))]


def track_of_each_language(tracks: Sequence[Track]) -> list[Track]:
    """One track of each language, in the source's order: the first that people made, else the first. The same words lie beside a video as WebVTT and as SubRip, and
    a site has automatic ones beside people's."""
    best: dict[str | None, Track] = {}
    for track in tracks:
        own = best.get(track["language"])
        if own is None or (own["automatic"] and not track["automatic"]):
            best[track["language"]] = track
    return list(best.values())


def _preference(track: Track, languages: Sequence[str]) -> tuple[int, bool]:
    """Rank of the first language of which the track's is the same or a variant, then of another variant; made by people or not."""
    spoken = (track["language"] or "").lower()
    wanted = [language.lower() for language in languages]
    same = [spoken == w or spoken.startswith(f"{w}-") for w in wanted]
    related = [spoken.split("-")[0] == w.split("-")[0] for w in wanted]
    return [*same, *related, True].index(True), bool(track["automatic"])
