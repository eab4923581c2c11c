"""Opens this folder in LightlyStudio 1.x, and writes down what was tagged there. Run it in an environment in which `pip install lightly-studio==1.2.0` was said.

python open_lightly.py             loads the folder into lightly.db beside this file and opens the page
python open_lightly.py --load      loads it, and ends
python open_lightly.py --tags      writes tags.jsonl: the tags of videos, and the classes that spans were given, for
                                   curation export-view lightly SUBSET FOLDER --read
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = "curation"
"""The annotation source under which the spans stand."""
SAME_S = 0.01
"""How far a span may have been moved and still be a clip's."""

os.environ.setdefault("LIGHTLY_STUDIO_ANALYTICS_ENABLED", "false")


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The lines of a file of this folder."""
    with open(HERE / name, encoding="utf-8") as file:
        yield from map(json.loads, file)


def opened() -> Any:
    """The dataset, loaded into the database if it is not there yet."""
    from lightly_studio.core.video.video_dataset import VideoDataset
    from lightly_studio.database import db_manager

    file = HERE / "lightly.db"
    there = file.exists()
    db_manager.connect(db_file=str(file))
    if there:
        return VideoDataset.load("curation")
    dataset = VideoDataset.create("curation")
    dataset.add_videos_from_path(path=HERE / "videos", embed=False, embed_frames=False, target_fps=1)
    missing = dataset.add_annotations_from_activitynet(annotations_json=HERE / "spans.json", annotation_source=SOURCE)
    if missing:
        print(
            f"{len(missing)} video{'' if len(missing) == 1 else 's'} could not be read by LightlyStudio: {', '.join(missing[:5])}"
        )
    said: dict[str, dict[str, Any]] = {}
    for clip in lines("clips.jsonl"):
        own = said.setdefault(clip["video"], {"clips": 0, "kept": 0})
        own["clips"] += 1
        own["kept"] += clip["verdict"] == "kept"
        for name, value in clip["scores"].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                own.setdefault(f"mean {name}", []).append(value)
    for video in dataset:
        for name, value in said.get(Path(video.file_name).stem, {}).items():
            video.metadata[name] = sum(value) / len(value) if isinstance(value, list) else value
    return dataset


def write_tags(dataset: Any) -> int:
    """Writes tags.jsonl; returns how many lines it has."""
    clips: dict[str, list[dict[str, Any]]] = {}
    verdicts = set()
    for clip in lines("clips.jsonl"):
        clips.setdefault(clip["video"], []).append(clip)
        verdicts.add(clip["verdict"])
    said = set()
    for video in dataset:
        own = clips.get(Path(video.file_name).stem, [])
        said |= {(clip["dataset"], clip["clip"], tag) for tag in video.tags for clip in own}
        for annotation in video.annotations:
            base = annotation.annotation_base
            span = base.temporal_span_details
            if span is None:
                continue
            near = [
                c
                for c in own
                if abs(c["start_s"] - span.start_time_s) < SAME_S and abs(c["end_s"] - span.end_time_s) < SAME_S
            ]
            names = {tag.name for tag in base.sample.tags}
            names |= {annotation.class_name} - verdicts
            said |= {(clip["dataset"], clip["clip"], name) for clip in near for name in names}
    with open(HERE / "tags.jsonl", "w", encoding="utf-8") as file:
        for dataset_name, clip_id, tag in sorted(said):
            file.write(json.dumps({"dataset": dataset_name, "clip": clip_id, "tag": tag}, ensure_ascii=False) + "\n")
    return len(said)


def main(words: list[str]) -> None:
    dataset = opened()
    if "--tags" in words:
        count = write_tags(dataset)
        print(f"{count} tag{'' if count == 1 else 's'} of clips in {HERE / 'tags.jsonl'}")
    elif "--load" not in words:
        import lightly_studio

        lightly_studio.start_gui()


if __name__ == "__main__":
    main(sys.argv[1:])
