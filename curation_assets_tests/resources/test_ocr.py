"""Reading text with rapidocr's own models, without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.truth import written
from curation_assets_tests.scores.text_pictures import page
from curation_resources.ocr import TALLEST_UNREAD, TextReader, identity, model_file
from curation_resources.weights import MissingWeights


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader(736)


def test_words_and_boxes_of_known_lines(reader: TextReader) -> None:
    image, boxes = page([("Hello world", 40, 40, 32), ("small print 2024", 300, 200, 16)])
    lines = reader(image)
    assert [line.text for line in lines] == ["Hello world", "small print 2024"]
    for line, (left, top, right, bottom) in zip(lines, boxes, strict=True):
        assert line.polygon[:, 0].min() == pytest.approx(left, abs=8)
        assert line.polygon[:, 0].max() == pytest.approx(right, abs=8)
        assert line.polygon[:, 1].min() == pytest.approx(top, abs=8)
        assert line.polygon[:, 1].max() == pytest.approx(bottom, abs=8)
        assert line.confidence > 0.8


def test_neither_network_nor_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    image, _ = page([("offline", 60, 60, 32)])
    assert [line.text for line in TextReader(640)(image)] == ["offline"]


def test_boxes_alone_do_not_stick_to_later_readers(reader: TextReader) -> None:
    image, _ = page([("Hello world", 40, 40, 32)])
    boxes = TextReader(736, words=False)
    assert [line.text for line in boxes(image)] == [None]
    assert [line.text for line in reader(image)] == ["Hello world"]
    assert [line.text for line in boxes(image)] == [None]


def test_a_huge_character_counts_only_if_it_can_be_read(reader: TextReader) -> None:
    image, _ = page([("GO", 150, 20, 260)])
    assert TALLEST_UNREAD * image.shape[0] < 260
    assert TextReader(736, words=False)(image) == []
    assert [line.text for line in reader(image)] == ["GO"]


@pytest.mark.parametrize("shape", [(384, 683), (20, 500), (500, 20), (8, 8), (1, 1)])
def test_empty_pictures_of_any_shape(reader: TextReader, shape: tuple[int, int]) -> None:
    assert reader(np.full((*shape, 3), 90, np.uint8)) == []


def test_missing_models_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeights, match=r"^reading text needs rapidocr's model \*_det_\*\.onnx, which is not in .*again"
    ):
        TextReader(640, folder=tmp_path)


def test_identity_names_what_is_used() -> None:
    assert model_file("det").name.split(".")[0] in identity(words=False)
    assert "_rec_" in identity(words=True)
    assert "_rec_" not in identity(words=False)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "brick"])
def test_photographs_are_not_one_huge_character(name: str) -> None:
    from skimage import data

    picture = getattr(data, name)()
    bgr = np.ascontiguousarray((picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1))[:, :, ::-1])
    for words in (True, False):
        found = TextReader(736, words=words)(bgr)
        assert all(np.ptp(line.polygon[:, 1]) < 0.5 * bgr.shape[0] for line in found), [k.text for k in found]


@pytest.mark.parametrize("script", written.SENTENCES)
def test_a_line_counts_whatever_its_script(reader: TextReader, script: str) -> None:
    """Reading decides what a line says, not whether it is there: outlined, plain and turned, at two sizes, on busy pictures."""
    font = written.font_file(script)
    if font is None:
        pytest.skip(f"no font has {script}: install fonts-noto-core and fonts-noto-cjk")
    styles = [written.Style(size, outline, turn) for size in (18, 30) for outline, turn in ((2, 0), (2, 8.0), (0, 0))]
    covered = []
    for seed, style in enumerate(styles):
        picture, ink = written.write(written.texture(seed), written.SENTENCES[script], font, style)
        mask = np.zeros(ink.shape, np.uint8)
        for line in reader(np.ascontiguousarray(picture[..., ::-1])):
            cv2.fillPoly(mask, [line.polygon.astype(np.int32)], 1)
        covered.append(float(mask[ink].mean()))
    assert sum(share > 0.8 for share in covered) >= 5, covered


def test_lines_that_cannot_be_read_have_no_words(reader: TextReader) -> None:
    font = written.font_file("Arabic")
    assert font is not None
    picture, _ = written.write(written.texture(1), written.SENTENCES["Arabic"], font, written.Style(26, 2))
    (line,) = reader(np.ascontiguousarray(picture[..., ::-1]))
    assert line.text is None
    assert line.confidence >= 0.5


def test_busy_pictures_without_text_have_none(reader: TextReader) -> None:
    assert [reader(written.texture(seed)) for seed in range(6)] == [[]] * 6
