"""The card of a published version: README.md for people and `datasets`, croissant.json for machines (https://mlcommons.org/croissant)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from curation_assets.publish.clip_dataset import SOUNDS
from curation_assets.publish.writing.samples import PublishedFile
from curation_resources.markdown import escape
from curation_resources.words import plural

UNKNOWN = "not stated"
MS_PER_HOUR = 3_600_000
SHOWN = 20
"""Rows of the tables of licences and channels; the rest is summed up."""
CROISSANT = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "txt": "text/plain",
    "json": "application/json",
    "npy": "application/octet-stream",
    "csv": "text/csv",
    "parquet": "application/x-parquet",
    "tar": "application/x-tar",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/opus",
}
FEATURES: dict[str, Any] = {
    "mp4": "video",
    "txt": "string",
    "json": "json",
    "npy": {"list": {"list": "float32"}},
    **dict.fromkeys(SOUNDS, "audio"),
}
"""What `datasets` (from the release with a JSON type on) is told of a sample's members."""


@dataclass
class CardFacts:
    """What a card says.

    Attributes:
        name: the subset's partition key.
        kind: clip_dataset or embedding_dataset.
        version: of the export.
        description: the recipe's.
        recipe: the recipe as a JSON-able mapping.
        layout: webdataset, folder, parquet, tars or folders.
        members: extensions of a sample's files, the payload first.
        funnel: (rule, rows, hours) in order.
        failed: samples that could not be made.
        samples, ms: samples and milliseconds of video per split.
        licences, channels: milliseconds by licence and by channel.
        models: stage -> name of the weights -> their identity.
        inputs: name of each input -> its content hash.
        left_out: what was missing or out of date when it was published, a line each.
        files: the version's files; those of folder layouts are not listed one by one.
        tar_splits: tar -> split.
    """

    name: str
    kind: str
    version: str
    description: str
    recipe: Mapping[str, Any]
    layout: str
    members: Sequence[str]
    funnel: Sequence[tuple[str, int, float]] = ()
    failed: int = 0
    samples: Counter[str] = field(default_factory=Counter)
    ms: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    files: Sequence[PublishedFile] = ()
    tar_splits: Mapping[str, str] = field(default_factory=dict)

    def count(self, split: str, ms: int, licence: str | None, channel: str | None) -> None:
        """Counts a sample."""
        self.samples[split] += 1
        self.ms[split] += ms
        self.licences[licence or UNKNOWN] += ms
        self.channels[channel or UNKNOWN] += ms

    @property
    def hours(self) -> float:
        """Hours of video in all splits."""
        return self.ms.total() / MS_PER_HOUR


def samples_said(count: int, of_clips: bool) -> str:
    """How many samples there are, as a card says it: clips, or embeddings of their frames."""
    if of_clips:
        return plural(count, "clip", commas=True)
    return plural(count, "clip's frame embeddings", "clips' frame embeddings", commas=True)


def card(facts: CardFacts) -> str:
    """README.md: front matter that `datasets.load_dataset` reads, then what the data are and where they come from."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(facts), sort_keys=False)}---",
        f"# {facts.name}\n\n{escape(facts.description)}".rstrip(),
        f"{samples_said(facts.samples.total(), facts.kind == 'clip_dataset')}, {facts.hours:.3f} hours of video; version `{facts.version}`."
        + (f" {facts.failed:,} more could not be made; the table says why." if facts.failed else ""),
        *_left_out(facts),
        "## Splits\n\n" + hours_table(facts) + "\n\nA source video is in one split only.",
        "## How they were chosen\n\n"
        + _table(
            ("after", "clips", "hours", "share"),
            [(r, f"{n:,}", f"{h:.3f}", _share(n, facts.funnel[0][1])) for r, n, h in facts.funnel],
        ),
        "## Licences\n\n" + shares_table("licence", facts.licences),
        "## Channels\n\n" + shares_table("channel", facts.channels),
        "## Models\n\n"
        + _table(
            ("stage", "weights", "identity"),
            [(stage, n, identity) for stage, weights in facts.models.items() for n, identity in weights.items()],
        ),
        "## Made from\n\nContent hashes of all inputs.\n\n"
        + _table(("input", "content hash"), sorted(facts.inputs.items())),
        f"## Recipe\n\n```yaml\n{yaml.safe_dump(dict(facts.recipe), sort_keys=False, allow_unicode=True)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _left_out(facts: CardFacts) -> list[str]:
    if not facts.left_out:
        return []
    lines = "\n".join(f"- {escape(line)}" for line in facts.left_out)
    return [f"## Not complete\n\nPublished while some of its inputs were missing or out of date:\n\n{lines}"]


def hours_table(facts: CardFacts) -> str:
    """Samples and hours of each split."""
    rows = [(s, f"{facts.samples[s]:,}", _hours(facts.ms[s])) for s in _splits(facts)]
    return _table(("split", "samples", "hours"), rows)


def _splits(facts: CardFacts) -> list[str]:
    return [s for s in ("train", "val", "test") if facts.samples[s]]


def _front_matter(facts: CardFacts) -> dict[str, Any]:
    if facts.layout == "folders":  # `datasets` has no reader for triples in folders
        return {"pretty_name": facts.name, "tags": ["video"]}
    names = {"train": "train", "val": "validation", "test": "test"}
    files = []
    for split in _splits(facts):
        path: str | list[str] = f"{split}-*.tar" if facts.layout == "webdataset" else f"{split}/*"
        if facts.layout == "tars":
            path = [tar for tar, of in facts.tar_splits.items() if of == split]
        files.append({"split": names[split], "path": path})
    described: dict[str, Any] = {
        "pretty_name": facts.name,
        "tags": ["video", "webdataset" if facts.layout in ("webdataset", "tars") else "videofolder"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    if facts.layout in ("webdataset", "tars"):
        # Without them `datasets` guesses from the first samples and fails at the first that says more.
        kinds = {"__key__": "string", "__url__": "string", **{m: FEATURES[m] for m in facts.members}}
        features = [{"name": n, **(k if isinstance(k, dict) else {"dtype": k})} for n, k in kinds.items()]
        described["dataset_info"] = {"features": features}
    return described


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _hours(ms: int) -> str:
    return f"{ms / MS_PER_HOUR:.3f}"


def shares_table(name: str, ms: Counter[str]) -> str:
    """Hours and share of each licence or channel, the largest first."""
    whole = ms.total()
    ordered = sorted(ms.items(), key=lambda i: (-i[1], i[0]))
    rows = [(n, _hours(part), _share(part, whole)) for n, part in ordered[:SHOWN]]
    rest = sum(part for _, part in ordered[SHOWN:])
    if len(ordered) > SHOWN:
        rows.append((f"{len(ordered) - SHOWN} more", _hours(rest), _share(rest, whole)))
    return _table((name, "hours", "share"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    body = [f"| {' | '.join(escape(str(c)) for c in row)} |" for row in rows]
    return "\n".join([*lines, *body]) if body else "None."


def croissant(facts: CardFacts) -> str:
    """croissant.json: every file with its hash, and what a sample consists of.

    A sample's parts are file sets within the tars, or the columns of metadata.csv or metadata.parquet. The samples of a folder without such
    a list are a file set without records: `mlcroissant` reads file sets from archives only.
    """
    objects: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": f.name,
            "name": f.name,
            "contentUrl": f.name,
            "contentSize": f"{f.size} B",
            "encodingFormat": MEDIA_TYPES[f.name.rsplit(".", 1)[-1]],
            "sha256": f.sha256,
        }
        for f in facts.files
    ]
    listing = next((f.name for f in facts.files if f.name.startswith("metadata.")), None)
    tars = [{"@id": f.name} for f in facts.files if f.name.endswith(".tar")]
    for extension in facts.members:
        files: dict[str, Any] = {
            "@type": "cr:FileSet",
            "@id": f"{extension}-files",
            "name": f"{extension}-files",
            "encodingFormat": MEDIA_TYPES[extension],
            "includes": f"*.{extension}" if tars else f"*/*.{extension}",
        }
        objects.append({**files, "containedIn": tars} if tars else files)
    records = [_listed(listing)] if listing is not None else []
    if tars:
        records = [_member(e) for e in facts.members]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT,
        "name": facts.name,
        "description": _description(facts),
        "version": f"1.0.0+{facts.version}",
        "license": sorted(facts.licences),
        "distribution": objects,
        "recordSet": records,
    }
    return json.dumps(described, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def _description(facts: CardFacts) -> str:
    said = facts.description or f"{facts.kind} of the subset {facts.name}"
    return said + (f" Not complete: {'; '.join(facts.left_out)}." if facts.left_out else "")


def _listed(listing: str) -> dict[str, Any]:
    """The record set of metadata.csv or metadata.parquet."""
    path = "file_name" if listing.endswith(".csv") else "path"
    columns = (path, "text", "split", "key", "dataset", "video_id", "clip_id", "licence", "record")
    source = {"fileObject": {"@id": listing}}
    fields = [_field("samples", c, "sc:Text", {**source, "extract": {"column": c}}) for c in columns]
    return _records("samples", "A published sample.", fields)


def _member(extension: str) -> dict[str, Any]:
    """The record set of the files with one extension. That those of a sample have one key is said in words: by `references`, `mlcroissant`
    would read every video to give the captions.
    """
    of_media = {"mp4": "sc:VideoObject", **dict.fromkeys(SOUNDS, "sc:AudioObject")}
    kind = of_media.get(extension, "sc:Text")  # that of an npy is its bytes; there is no type for them
    files = {"fileSet": {"@id": f"{extension}-files"}}
    name = {"extract": {"fileProperty": "filename"}, "transform": {"regex": rf"^(.+)\.{extension}$"}}
    key = _field(extension, "key", "sc:Text", {**files, **name})
    content = _field(extension, "content", kind, {**files, "extract": {"fileProperty": "content"}})
    return _records(extension, f"The {extension} of each sample, whose files have one key.", [key, content])


def _records(name: str, description: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, "field": list(fields)}


def _field(records: str, name: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": f"{name} of the sample",
        "dataType": kind,
        "source": dict(source),
    }
