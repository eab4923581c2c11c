"""What can be looked at, before anything of it is read."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.registry import JUDGED


@dataclass(frozen=True)
class Collection:
    """What can be looked at: the candidates of a subset, or all clips of a dataset.

    Attributes:
        key: of the subset; of all clips, the dataset's name.
        recipe, subset: where it is declared; of all clips a subset without rules.
        declared: whether it is a subset of the recipe.
    """

    key: str
    recipe: Recipe
    subset: Subset
    declared: bool

    @property
    def asset(self) -> str:
        """The table in which it is judged."""
        return JUDGED[self.subset.of]

    @property
    def of_clips(self) -> bool:
        """Whether its candidates are clips; else tracks."""
        return self.subset.of == "clips"

    @property
    def datasets(self) -> list[str]:
        """Whose candidates they are."""
        return list(self.subset.datasets or [self.recipe.dataset])
