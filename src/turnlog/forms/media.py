"""Images, sounds and files: read from a part of any form; their data URLs, names and the words that stand in for them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from turnlog.forms.pieces import Media

Part = Mapping[str, Any]

_DATA_URL = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def read_media(part: Part) -> Media | None:
    """The media of a content part of any form; None where it is none, or is malformed."""
    kind = part.get("type")
    if kind == "image_url":
        address = part.get("image_url")
        return _by_address("image", address.get("url") if isinstance(address, Mapping) else address, part)
    if kind == "input_image":
        return _by_address("image", part.get("image_url"), part)
    if kind == "input_audio":
        return _read_audio(part)
    if kind == "file":
        return _read_file(part.get("file"), part)
    if kind == "input_file":
        return _read_file(part, part)
    if kind in ("image", "document"):
        return _read_source("image" if kind == "image" else "file", part)
    return None


def _by_address(kind: str, address: Any, part: Part) -> Media | None:
    if not isinstance(address, str):
        return Media(kind, None, None, None, part) if file_id(part) else None
    found = _DATA_URL.fullmatch(address)
    return Media(kind, None, found[2], found[1] or None, part) if found else Media(kind, address, None, None, part)


def _read_audio(part: Part) -> Media | None:
    audio = part.get("input_audio")
    if not isinstance(audio, Mapping) or not isinstance(audio.get("data"), str):
        return None
    return Media("audio", None, audio["data"], _AUDIO_TYPES.get(str(audio.get("format"))), part)


def _read_file(file: Any, part: Part) -> Media | None:
    if not isinstance(file, Mapping):
        return None
    data = file.get("file_data")
    if not isinstance(data, str):
        return _by_address("file", file.get("file_url"), part)
    found = _DATA_URL.fullmatch(data)
    return Media("file", None, found[2], found[1] or None, part) if found else Media("file", None, data, None, part)


def _read_source(kind: str, part: Part) -> Media | None:
    source = part.get("source")
    if not isinstance(source, Mapping):
        return None
    data, media_type = source.get("data"), source.get("media_type")
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        return Media(kind, source["url"], None, None, part)
    if source.get("type") == "text" and isinstance(data, str):
        encoded = base64.b64encode(data.encode("utf-8", "surrogatepass")).decode()
        return Media(kind, None, encoded, "text/plain", part)
    if source.get("type") == "base64" and isinstance(data, str):
        return Media(kind, None, data, media_type if isinstance(media_type, str) else None, part)
    return Media(kind, None, None, None, part) if source.get("type") == "file" else None


def address(media: Media) -> str | None:
    """The address of the media, or its data as a data URL; None where neither is known."""
    if media.data is None:
        return media.url
    fallback = {"image": "image/png", "file": "application/pdf"}
    return f"data:{media.media_type or fallback.get(media.kind, 'application/octet-stream')};base64,{media.data}"


def audio_format(media: Media) -> str | None:
    """``wav`` or ``mp3``, the two that OpenAI takes; None for others."""
    return _AUDIO_FORMATS.get(media.media_type or "")


def detail(media: Media) -> str | None:
    """How closely OpenAI's models are to look at an image, where the stored part asks for other than ``auto``."""
    image = media.raw.get("image_url")
    found = image.get("detail") if isinstance(image, Mapping) else media.raw.get("detail")
    return found if isinstance(found, str) and found != "auto" else None


def file_id(part: Part) -> str | None:
    """The id of a file that was uploaded to OpenAI, from a part of chat or responses."""
    file = part.get("file")
    found = file.get("file_id") if isinstance(file, Mapping) else part.get("file_id")
    return found if isinstance(found, str) and found else None


def filename(media: Media) -> str | None:
    """The name that the stored part gives the file."""
    file = media.raw.get("file")
    found = file.get("filename") if isinstance(file, Mapping) else media.raw.get("filename") or media.raw.get("title")
    return found if isinstance(found, str) and found else None


def plain_text(media: Media) -> str | None:
    """The text of a plain text file; None for anything else."""
    if media.kind != "file" or media.media_type != "text/plain" or media.data is None:
        return None
    try:
        return base64.b64decode(media.data, validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return None


def stand_in(media: Media) -> str:
    """The words written where a form has no place for the media: its kind, and its name or address where known."""
    return f"[{' '.join(filter(None, [media.kind, filename(media) or media.url]))}]"
