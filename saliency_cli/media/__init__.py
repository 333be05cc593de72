"""Reading and writing: probe, decoders, frame folders, sound; writers and atomic files."""

from __future__ import annotations

# Writing
from saliency_cli.media.array_writer import ARRAY_FORMATS, ArrayWriter
from saliency_cli.media.atomic import FRAME_FILES, atomic_file, atomic_folder, mark_temporary_files, remove_marked

# Reading
from saliency_cli.media.choice import choose_decoder
from saliency_cli.media.folder import PICTURE_SUFFIXES, list_frames, read_picture
from saliency_cli.media.probe import Probe, probe
from saliency_cli.media.product import ProductWriter
from saliency_cli.media.product_writers import (
    IMAGE_FORMATS,
    ImageWriter,
    PngWriter,
    SidecarWriter,
    StatsStream,
    StatsWriter,
    sidecar_path,
)
from saliency_cli.media.reader import DecoderChoice, Source, open_source
from saliency_cli.media.sound import Sound, read_sound, sound_window
from saliency_cli.media.sound_feed import SoundFeed
from saliency_cli.media.stdin import STDIN, STDIN_NAME, is_stdin, source_path
from saliency_cli.media.stdout import require_pipe
from saliency_cli.media.stream_writer import STREAM_FORMATS, StreamWriter
from saliency_cli.media.streams import StreamFacts, colour_names, list_streams
from saliency_cli.media.video_writer import VIDEO_FORMATS, VideoWriter

__all__ = [
    "ARRAY_FORMATS",
    "FRAME_FILES",
    "IMAGE_FORMATS",
    "PICTURE_SUFFIXES",
    "STDIN",
    "STDIN_NAME",
    "STREAM_FORMATS",
    "VIDEO_FORMATS",
    "ArrayWriter",
    "DecoderChoice",
    "ImageWriter",
    "PngWriter",
    "Probe",
    "ProductWriter",
    "SidecarWriter",
    "Sound",
    "SoundFeed",
    "Source",
    "StatsStream",
    "StatsWriter",
    "StreamFacts",
    "StreamWriter",
    "VideoWriter",
    "atomic_file",
    "atomic_folder",
    "choose_decoder",
    "colour_names",
    "is_stdin",
    "list_frames",
    "list_streams",
    "mark_temporary_files",
    "open_source",
    "probe",
    "read_picture",
    "read_sound",
    "remove_marked",
    "require_pipe",
    "sidecar_path",
    "sound_window",
    "source_path",
]
