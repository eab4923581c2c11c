"""Storage: what the readers of media rely on, on every kind of root."""

from __future__ import annotations

import av
import pytest

from curation_assets_tests.sample_video import sample_video
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


@pytest.mark.parametrize("ranged", [False, True], ids=["file", "tar_member"])
def test_a_demuxer_opens_what_open_media_gives(storage: Storage, ranged: bool) -> None:
    """PyAV takes the direction from the file object's own mode."""
    video = sample_video(seconds=1)
    storage.write("held", b"x" * 700 + video + b"y" if ranged else video)
    ref = MediaRef("held", 700, len(video)) if ranged else MediaRef("held")
    with storage.open_media(ref) as stream, av.open(stream) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
