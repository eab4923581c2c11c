"""How much of each clip is without colour: a score that comes from a package of its own."""

from collections.abc import Sequence

from pydantic import Field

from curation_assets.components import Picture, Rules, Section, frame_score, share


class Greyscale(Section):
    """When a picture counts as one without colour."""

    tolerance: int = Field(
        8, ge=0, le=255, description="Largest difference of red, green and blue of a grey pixel, of 255."
    )
    where: Rules = Field(default=[], description="Rules that a clip must pass to be looked at.")


def score(pictures: Sequence[Picture], params: Greyscale) -> dict[str, float]:
    """Share of the sampled pictures of which 99 of 100 pixels are grey."""
    spread = [picture.max(axis=2) - picture.min(axis=2) for picture in pictures]
    grey = [(s <= params.tolerance).mean() >= 0.99 for s in spread]
    return {"greyscale": sum(grey) / len(grey)}


STAGE = frame_score(
    "greyscale_scores",
    "greyscale",
    Greyscale,
    [share("greyscale", "Share of the sampled frames without colour.")],
    "curation_greyscale:score",
    about="Whether a clip is black and white, or becomes so.",
)
