"""`curation pack`: a processed dataset of embeddings, which others left in folders, as tars."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from curation_assets.commands.installation import Commands
from curation_assets.publish.embedding_dataset import EmbeddingExport
from curation_resources.words import plural


def add(commands: Commands) -> None:
    """Adds the command."""
    defaults = EmbeddingExport()
    pack = commands.add_parser(
        "pack",
        help="put folders of embeddings (train, val, test with npy, txt, json) into tars with splits.csv",
        description="The source is a processed dataset as clip-video-encode leaves it: folders train, val and test of triples, of which txt and json may be "
        "missing. It needs no recipe and changes nothing of the source. The target gets the tars and, last, splits.csv, which says of each tar which split "
        "it is of.",
    )
    pack.add_argument("source", help="folder that has train, val and test")
    pack.add_argument("target", help="folder or bucket (s3://...) for the tars")
    pack.add_argument("--name", default=defaults.name, help=f"first part of the tars' names; {defaults.name}")
    pack.add_argument("--per-tar", type=int, default=defaults.per_tar, help=f"triples in a tar; {defaults.per_tar}")
    pack.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default=defaults.dtype,
        help=f"type of the arrays; {defaults.dtype}",
    )
    pack.set_defaults(call=_pack)


def _pack(arguments: argparse.Namespace) -> int:
    from curation_assets.publish.writing.embeddings import SPLITS_FILE
    from curation_assets.publish.writing.processed_folders import BadTriple, pack_processed
    from curation_resources.storage import Storage

    if arguments.per_tar < 1:
        print("curation: --per-tar must be 1 or more", file=sys.stderr)
        return 2
    if Storage(arguments.target).exists(SPLITS_FILE):
        print(
            f"curation: {arguments.target} has a {SPLITS_FILE} already; name another folder, or remove that file and the tars that it names",
            file=sys.stderr,
        )
        return 2
    options = EmbeddingExport(name=arguments.name, per_tar=arguments.per_tar, dtype=arguments.dtype)
    try:
        packed = pack_processed(arguments.source, arguments.target, options)
    except BadTriple as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2
    tars = Counter(packed.splits.values())
    for split, triples in packed.triples.items():
        print(f"{split}: {plural(triples, 'triple')} in {plural(tars[split], 'tar')}")
    print(f"in {arguments.target}, with {SPLITS_FILE}")
    return 0
