"""Tars that are made as video2dataset makes them, read by the loader of video2dataset 1.3 in an environment of its own."""

from __future__ import annotations

import hashlib

import pytest

from curation_assets_tests.publish.writing.test_video2dataset_out import SHOTS, samples_of, version
from curation_assets_tests.publish.writing.test_video2dataset_out import site as site
from curation_assets_tests.readers.environments import read_in
from curation_assets_tests.site import Site

FIRST = {"v0_0_2400": 0, "v0_2400_4400": SHOTS[0], "v0_4400_6000": sum(SHOTS[:2]), "v0_0_6000": 0, "mute_0_1600": 0}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("key", ["shots-out", "uncut-out"])
def test_video2datasets_loader_gives_every_sample(site: Site, key: str) -> None:
    made = samples_of(site, key)
    found = read_in("video2dataset", "video2dataset_loader", *sorted(version(site, key).glob("*.tar")))
    assert found.keys() == made.keys()
    for name, sample in made.items():
        read = found[name]
        assert read["json"] == sample["json"]
        assert read["text"] == sample["txt"].decode()
        assert read["sha256"] == {e: hashlib.sha256(sample[e]).hexdigest() for e in ("mp4", "wav") if e in sample}
        assert read["numbers"] == list(range(FIRST[name], FIRST[name] + sample["json"]["export"]["frames"]))
