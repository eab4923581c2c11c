"""Sections of recipes with a key that names one of several ways, where installed packages bring further ones with options of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.sections import GrownSection


class OpenSection(GrownSection):
    """A section one of whose keys is a `OneOf`. What is chosen may come from a package, and then take `options`."""

    later: ClassVar[frozenset[str]] = frozenset({"options"})

    options: dict[str, Any] = Field(
        default={}, description="Options of what another installed package brings; that package says which there are."
    )

    @classmethod
    def choices(cls) -> Iterator[tuple[str, OneOf]]:
        """Each key that is a choice, and what there is to choose."""
        for name, field in cls.model_fields.items():
            yield from ((name, m) for m in field.metadata if isinstance(m, OneOf))

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        for name, choice in self.choices():
            chosen = getattr(self, name)
            model = getattr(choice.bring(chosen), "Options", None)
            if model is None:
                if self.options:
                    yield f"{name} {chosen!r} takes no options, but there are {', '.join(self.options)}"
                continue
            try:
                model.model_validate(self.options)
            except ValidationError as error:
                for wrong in error.errors():
                    key = ".".join(["options", *map(str, wrong["loc"])])
                    words = {"extra_forbidden": "unknown key", "missing": "required key is missing"}
                    said = words.get(wrong["type"], wrong["msg"].removeprefix("Value error, "))
                    yield f"{key} of {name} {chosen!r}: {said}; there are {', '.join(model.model_fields)}"

    def brought_identity(self) -> dict[str, str]:
        """What identifies the code of what a package brings, for fingerprints; empty where the choice is this package's.

        It is what `identity(section, options)` of the thing says, or else its `version`, which its author raises when the same input
        would give something else.
        """
        found = self.chosen()
        if found is None:
            return {}
        thing, options = found
        tell = getattr(thing, "identity", None)
        said = tell(self, options) if tell is not None else f"version {getattr(thing, 'version', '1')}"
        return {next(getattr(self, name) for name, _ in self.choices()): str(said)}

    def chosen(self) -> tuple[Any, Any] | None:
        """What a package brings for the section's first choice, with its options validated; None where the choice is this package's."""
        name, choice = next(self.choices())
        found = choice.bring(getattr(self, name))
        if found is None:
            return None
        model = getattr(found, "Options", None)
        return found, model.model_validate(self.options) if model is not None else None
