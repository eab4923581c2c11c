"""Opens this folder in FiftyOne, and writes down what was tagged there. Run it in an environment in which `pip install fiftyone` was said.

python open_fiftyone.py            loads the folder as a dataset, `curation-<subset>-...`, and opens the app
python open_fiftyone.py --load     loads it, and ends
python open_fiftyone.py --tags     writes tags.jsonl: the tags of videos and of spans, for
                                   curation export-view fiftyone SUBSET FOLDER --read
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The lines of a file of this folder."""
    with open(HERE / name, encoding="utf-8") as file:
        yield from map(json.loads, file)


def samples() -> Iterator[Any]:
    """A sample for each video: its clips as temporal detections with scores and embeddings, its tracks as detections of frames."""
    import fiftyone as fo
    import numpy as np

    vectors = np.load(HERE / "embeddings.npy") if (HERE / "embeddings.npy").exists() else None
    videos: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, clip in enumerate(lines("clips.jsonl")):
        videos.setdefault(clip["video"], []).append((number, clip))
    tracks: dict[str, list[dict[str, Any]]] = {}
    for track in lines("tracks.jsonl"):
        tracks.setdefault(track["clip"], []).append(track)
    for stem, clips in videos.items():
        sample = fo.Sample(filepath=str(HERE / clips[0][1]["file"]), video=stem)
        spans: list[Any] = []
        frames: dict[int, list[Any]] = {}
        for number, clip in sorted(clips, key=lambda one: one[1]["first_frame"]):
            more = {name.replace(".", "_").replace(" ", "_"): value for name, value in clip["scores"].items()}
            if vectors is not None and np.isfinite(vectors[number]).all():
                more["embedding"] = vectors[number]
            support = [clip["first_frame"] + 1, clip["end_frame"]]  # from 1, both ends in it
            spans.append(
                fo.TemporalDetection(
                    label=clip["verdict"], support=support, clip=clip["clip"], dataset=clip["dataset"], **more
                )
            )
            for index, track in enumerate(tracks.get(clip["clip"], ())):
                for time_ms, (x, y, w, h) in zip(track["frame_ms"], track["boxes"], strict=True):
                    box = [x / clip["width"], y / clip["height"], w / clip["width"], h / clip["height"]]
                    at = clip["first_frame"] + round((time_ms / 1000 - clip["start_s"]) * clip["fps"]) + 1
                    frames.setdefault(at, []).append(
                        fo.Detection(
                            label=track["label"] or "object", bounding_box=box, index=index, track=track["track"]
                        )
                    )
        sample["clips"] = fo.TemporalDetections(detections=spans)
        for at, boxes in frames.items():
            sample.frames[at] = fo.Frame(tracks=fo.Detections(detections=boxes))
        yield sample


def name_of() -> str:
    """What the dataset is called: by the subset and this very view, since one of another folder has other files, and one of another day other clips."""
    subset = json.loads((HERE / "view.json").read_text("utf-8"))["subset"]
    view = hashlib.sha256(str(HERE).encode() + (HERE / "clips.jsonl").read_bytes()).hexdigest()[:8]
    return f"curation-{subset}-{view}"


def opened() -> Any:
    """The dataset, loaded if it is not there yet."""
    import fiftyone as fo

    name = name_of()
    if fo.dataset_exists(name) and fo.load_dataset(name).persistent:
        return fo.load_dataset(name)
    dataset = fo.Dataset(name, overwrite=True)
    dataset.add_samples(samples())
    dataset.persistent = True  # only once it is whole: one whose loading was interrupted is loaded anew
    return dataset


def tags_of(dataset: Any) -> set[tuple[str, str, str]]:
    """(dataset, clip, tag) of the tags of spans, and of those of videos for all of their clips."""
    return {
        (span["dataset"], span["clip"], tag)
        for sample in dataset
        for span in sample["clips"].detections
        for tag in (*sample.tags, *span.tags)
    }


def main(words: list[str]) -> None:
    dataset = opened()
    if "--tags" in words:
        said = sorted(tags_of(dataset))
        with open(HERE / "tags.jsonl", "w", encoding="utf-8") as file:
            for dataset_name, clip_id, tag in said:
                file.write(
                    json.dumps({"dataset": dataset_name, "clip": clip_id, "tag": tag}, ensure_ascii=False) + "\n"
                )
        print(f"{len(said)} tag{'' if len(said) == 1 else 's'} of clips in {HERE / 'tags.jsonl'}")
    elif "--load" not in words:
        import fiftyone as fo

        fo.launch_app(dataset).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
