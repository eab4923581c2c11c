"""YAML of recipes as plain values, whatever the file holds: bounded in size, depth and what aliases unfold to, and no key twice.

What belongs here: reading YAML. What does not: what a recipe may say (`recipes.py`).
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARS = 4_000_000
"""A vocabulary written into a recipe as prompts is some hundred thousand characters; a recipe is no place for data."""
MAX_DEPTH = 40
"""Levels of nesting; recipes have nine. PyYAML and pydantic go down one call per level."""
MAX_NODES = 200_000
"""Values and keys after aliases are unfolded: a chain of nine aliases to ten each is a billion in three hundred characters."""


class YamlError(ValueError):
    """Text that is not usable YAML; the message says why, `line` (from 1) where, if that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Builds plain values; a key that is given twice is an error, where YAML would let the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [k for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"] if not self._seen(node) else []
        values: set[Any] = set()
        for key in own:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key must be a word or a number", key.start_mark.line + 1)
            name = self.construct_object(key)
            if name in values:
                raise YamlError(f"the key {name!r} is given twice", key.start_mark.line + 1)
            values.add(name)
        return super().construct_mapping(node, deep=deep)

    def _seen(self, node: yaml.MappingNode) -> bool:
        """Whether the node was constructed before: then its merges are unfolded and their keys stand beside its own."""
        seen: set[int] = self.__dict__.setdefault("_mappings", set())
        known = id(node) in seen
        seen.add(id(node))
        return known

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        self._seen(node)
        super().flatten_mapping(node)


def _bound(text: str) -> None:
    """Goes through the events of the text, which are read one by one, and counts what they would become."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes so far
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        size = 0
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise YamlError(f"the alias *{event.anchor} stands within what it names", line)
            size = sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise YamlError(f"more than {MAX_DEPTH} levels of nesting", line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, size = open_nodes.pop()
            if anchor:
                sizes[anchor] = size
        if open_nodes and size:
            anchor, within = open_nodes[-1]
            open_nodes[-1] = (anchor, within + size)
            if within + size > MAX_NODES:
                raise YamlError(f"more than {MAX_NODES} values, once its aliases are unfolded", line)


def read_yaml(text: str) -> Any:
    """The value that a YAML text stands for.

    Raises:
        YamlError: it is no YAML, has a key twice, or is larger or deeper than a recipe can be.
    """
    if len(text) > MAX_CHARS:
        raise YamlError(f"longer than {MAX_CHARS} characters; put lists into files of their own")
    try:
        _bound(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlError(f"not valid YAML: {error.problem}", mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        reason = f"{getattr(error, 'reason', error)}".splitlines()[0]
        raise YamlError(f"not valid YAML: {reason}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"not valid YAML: a value cannot be read ({error})") from error
