"""Licence plates that move over real footage are covered in every frame, on the way that exports take; without weights nothing is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import cut_weights
from curation_assets.publish.cutting.clip_plan import ClipToCut, clip_fingerprint
from curation_assets.publish.cutting.cover_blurring import PushedBlurring
from curation_assets.recipes import RecipeError, parse_recipe
from curation_assets.tracks.face_leaks import find_leaks
from curation_assets.tracks.face_tables import COVERS, clip_covers, joined, of_thing
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tracks.plates import SIDE, Box, drive, footage, save_network, with_plates
from curation_resources.detectors.base import Detections, Image
from curation_resources.detectors.classes import OfClasses
from curation_resources.weights import MissingWeights, WrongWeights, file_sha256

FRAMES = 24
COLOURS = 4
"""Of covers that may lie over one plate, each in one colour; letters have hundreds."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_network(tmp_path_factory.mktemp("plates") / "plates.onnx")


def export(network: str, **more: object) -> ClipExport:
    said = {"model": network, "onnx": {"size": SIDE}, "threshold": 0.5, **more}
    return ClipExport.model_validate({"blur": {"plates": said}})


def blurred(params: ClipExport, frames: list[Image]) -> tuple[list[Image], PushedBlurring]:
    found: dict[int, Image] = {}
    pushed = PushedBlurring(params.covers, lambda image, place: found.__setitem__(place, np.asarray(image)))
    for number, frame in enumerate(frames):
        pushed.push(40 * number, frame, number)
    pushed.finish()
    return [found[n] for n in range(len(frames))], pushed


def letters_of(frame: Image, box: Box) -> np.ndarray:
    """Where a plate's letters are, as far as they are in the picture."""
    x, y, w, h = box
    x0, y0 = max(0, round(x + 0.12 * w)), max(0, round(y + 0.1 * h))
    return frame[y0 : max(0, round(y + 0.9 * h)), x0 : max(0, round(x + 0.97 * w))]


def colours(picture: Image) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize(
    ("name", "fast"),
    [
        ("videos/vid1.mp4", 1.0),
        pytest.param("videos/car-detection.mp4", 2.0, marks=pytest.mark.slow),
        pytest.param("videos/birthday.mp4", 1.5, marks=pytest.mark.slow),
        pytest.param("videos/skateboarding_dog.mp4", 2.0, marks=pytest.mark.slow),
    ],
)
def test_every_plate_is_covered_in_every_frame_and_nothing_else_is_touched(
    network: str, name: str, fast: float
) -> None:
    clean, places = footage(shared(name), FRAMES), drive(FRAMES, fast=fast)
    frames = with_plates(clean, places)
    after, pushed = blurred(export(network), frames)
    rows = pushed.covered["plate"].to_pylist()
    for number, boxes in enumerate(places):
        far = np.ones(frames[number].shape[:2], bool)
        for row in rows:
            if row["frame_ms"] == 40 * number:
                x, y, w, h = row["x"], row["y"], row["w"], row["h"]
                far[max(0, int(y - h)) : int(y + 2 * h), max(0, int(x - 0.5 * w)) : int(x + 1.5 * w)] = False
        assert np.array_equal(after[number][far], frames[number][far])
        for box in boxes:
            assert colours(letters_of(frames[number], box)) > 20, "the letters can be read before"
            assert colours(letters_of(after[number], box)) <= COLOURS, (number, box)


def test_footage_without_plates_is_left_as_it_is_and_a_second_look_finds_what_was_left(network: str) -> None:
    clean, places = footage(shared("videos/vid1.mp4"), 5), drive(40)[:5]
    params = export(network)
    after, pushed = blurred(params, clean)
    assert pushed.covered["plate"].num_rows == 0
    assert all(a is b for a, b in zip(after, clean, strict=True))
    (cover,) = export(network, leak={"model": network, "onnx": {"size": SIDE}}).covers
    second = cover.second_detector()
    assert second is not None
    shown = with_plates(clean, places)
    assert len(find_leaks(enumerate(shown), second, every=4)) >= 2 * 2
    assert find_leaks(enumerate(blurred(params, shown)[0]), second, every=4) == []


def test_faces_and_plates_are_covered_in_one_pass(network: str) -> None:
    from curation_assets_tests.tracks.test_faces import sweep

    video = sweep("2008_002079.jpg", 2.0, 1.0)
    frames = [f for _, f in video.frames][:4]
    shown = with_plates(frames, [[(10.0, 10.0, 84.0, 18.0)]] * 4)
    params = ClipExport.model_validate(
        {"blur": {"faces": {"method": "box"}, "plates": {"model": network, "threshold": 0.5, "onnx": {"size": SIDE}}}}
    )
    after, pushed = blurred(params, shown)
    assert {thing: table.num_rows > 0 for thing, table in pushed.covered.items()} == {"face": True, "plate": True}
    assert all(colours(letters_of(a, (10.0, 10.0, 84.0, 18.0))) <= COLOURS for a in after)
    tables = [clip_covers("k", "v", "c", thing, table) for thing, table in pushed.covered.items()]
    both = joined(tables)
    assert both.schema.equals(COVERS)
    for thing, table in pushed.covered.items():
        assert of_thing(both, thing).num_rows == table.num_rows


def test_the_ways_to_say_it(network: str, tmp_path: Path) -> None:
    def of(blur: str) -> ClipExport:
        text = f"dataset: d\nsource: {{format: folder, path: x}}\nsubsets: {{s: {{export: {{clips: {{{blur}}}}}}}}}"
        found = parse_recipe(text, "d.yaml").subsets["s"].export.clips
        assert found is not None
        return found

    assert of("blur: {faces: true}") == of("blur_faces: true")
    assert of("blur: {faces: {method: box, scale: 1.5}}") == of("blur_faces: true, blur: box, blur_scale: 1.5")
    assert of("blur: {faces: true}").model_dump() == of("blur_faces: true").model_dump(), "nothing is made again for it"
    one = of(f"blur: {{plates: {{model: {network}}}}}")
    assert one == of(f"blur_plates: {{model: {network}}}")
    assert one.way == "exact", "every picture may change"
    for wrong, said in (
        ("blur: {plates: {}}", "model"),
        ("blur: {faces: false}", "names nothing to cover"),
        ("blur: {faces: true}, blur_scale: 2", "says it twice"),
        ("blur: {noses: true}", "noses"),
        ("blur: {plates: {model: 'https://example.org/p.onnx'}}", "sha256"),
        (f"cut: copy, blur: {{plates: {{model: {network}}}}}", "needs cut: exact"),
        (f"blur: {{plates: {{model: {network}, plates: [car]}}}}", "none of `names`"),
    ):
        with pytest.raises(RecipeError, match=said):
            of(wrong)


def test_weights_count_by_content_and_are_missed_before_anything_is_cut(network: str, tmp_path: Path) -> None:
    other = tmp_path / "moved.onnx"
    other.write_bytes(Path(network).read_bytes())
    cut = ClipToCut("d", "v", "c", None, "k", "train", 0, 1000, 0, 25, None, None)
    source = {"sha256": "x", "etag": None}
    prints = [clip_fingerprint(cut, source, export(n)) for n in (network, str(other))]
    assert prints[0] == prints[1], "where the file lies decides no pixel"
    leak = {"model": str(other), "onnx": {"size": SIDE}}
    assert clip_fingerprint(cut, source, export(network, leak=leak)) == prints[0]
    assert clip_fingerprint(cut, source, export(network, scale=2.0)) != prints[0]
    other.write_bytes(other.read_bytes() + b"\0")
    assert clip_fingerprint(cut, source, export(str(other))) != prints[0]
    assert cut_weights(export(network)) == {"plates": f"onnx:{file_sha256(network)[:16]}"}
    with pytest.raises(
        MissingWeights, match=r"weights of the plate detector are missing: no file .*blur_plates\.model"
    ):
        cut_weights(export(str(tmp_path / "none.onnx")))
    with pytest.raises(WrongWeights, match="is expected"):
        cut_weights(export(network, sha256="0" * 64))
    with pytest.raises(MissingWeights, match=r"the package 'no_such_package' of .* is not installed"):
        cut_weights(export("package:no_such_package/plates.onnx"))
    digest = "a" * 64
    remote = export("http://127.0.0.1:9/plates.onnx", sha256=digest)
    assert cut_weights(remote) == {"plates": f"onnx:{digest[:16]}"}, "nothing is fetched to tell what would be made"
    with pytest.raises(MissingWeights, match="cannot be fetched"):
        remote.covers[0].fetch()


def test_of_a_detector_of_many_things_the_plates_alone_count() -> None:
    class Both:
        names, description, has_features, concurrent = ("car", "plate"), "both", False, True

        def detect(self, frames: list[Image]) -> list[Detections]:
            scores = np.asarray([[0.9, 0.1], [0.2, 0.8]], np.float32)
            boxes = np.asarray([[0, 0, 9, 9], [1, 1, 5, 2]], np.float32)
            return [Detections(boxes, scores.max(axis=1), scores) for _ in frames]

    (found,) = OfClasses(Both(), ("plate",)).detect([np.zeros((9, 9, 3), np.uint8)])  # type: ignore[arg-type]
    assert found.boxes.tolist() == [[1, 1, 5, 2]]
