"""The parser of the `curation` command.

What belongs here: what is said of a word that it does not know. What does not: the commands and their options (`cli.py`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Each command refuses by itself what it does not know, shows its own usage, and says what may have been meant; argparse would have the
    whole command line refuse it, and show the usage of that."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, left = super().parse_known_args(args, namespace)
        options = [word.partition("=")[0] for word in left if word.startswith("-")]
        if options:
            own = [name for action in self._actions for name in action.option_strings]
            self.error("; ".join(f"there is no option {word}{_meant(word, own)}" for word in options))
        if left and isinstance(
            getattr(known, "recipe", None), list
        ):  # argparse takes them only where no option stands between
            known.recipe = [*known.recipe, *left]
            left = []
        if left:
            self.error(f"more was given than it takes: {' '.join(left)}")
        return known, left

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if unknown is not None:
            message += _meant(unknown[1], re.findall(r"[\w-]+", unknown[2]))
        super().error(message)


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
