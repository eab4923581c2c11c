"""Sections of recipes: the base of their models, and the types of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from curation_assets.rules.language import RuleError, parse_rule

NAME = r"^[a-z0-9][a-z0-9_]*$"


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)

    def faults(self) -> Iterator[str]:
        """What is wrong with its keys beside each other, a sentence each; the keys by themselves are right. All of it is told at once."""
        yield from ()

    @model_validator(mode="after")
    def _without_faults(self) -> Self:
        found = list(self.faults())
        if found:
            raise ValueError("\n".join(found))
        return self

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """Each key as recipes write it, and its field; what is for other packages comes last."""
        fields = sorted(cls.model_fields.items(), key=lambda item: item[0] == "options")
        return {field.alias or name: field for name, field in fields}


class GrownSection(Section):
    """A section that got keys after tables were compared by it.

    While such a key has its default, it is left out of what the section is compared by, so that tables of before it was there stay as they are.
    """

    later: ClassVar[frozenset[str]] = frozenset()
    """Those keys."""

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        unused = {n for n in self.later if getattr(self, n) == fields[n].get_default(call_default_factory=True)}
        return {name: value for name, value in said.items() if name not in unused}


def _check_rule(text: str) -> str:
    try:
        parse_rule(text)
    except RuleError as error:
        raise ValueError(str(error)) from error
    return text


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Rule = Annotated[
    str, BeforeValidator(lambda v: _check_rule(v) if isinstance(v, str) else v, json_schema_input_type=str)
]
Rules = Annotated[list[Rule], BeforeValidator(_one_or_several, json_schema_input_type=str | list[str])]
Paths = Annotated[
    list[str],
    BeforeValidator(_one_or_several, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
    Field(min_length=1),
]
