"""PNG files without their notes: a picture is not broken because of what is written beside its pixels."""

from __future__ import annotations

import io
from typing import BinaryIO

from hoir_ray.machine.files import read_at_most

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Texts, profiles, EXIF; Pillow gives the whole picture up for one of them that is large or odd.
_NOTES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"})


def without_notes(file: BinaryIO) -> BinaryIO | None:
    """The same pixels and no notes, or None where the file is no PNG or has none.

    Source: chunks as in PNG (third edition), 5.3.
    """
    file.seek(0)
    if file.read(8) != _SIGNATURE:
        return None
    kept, dropped = io.BytesIO(), 0
    kept.write(_SIGNATURE)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind in _NOTES:
            file.seek(length + 4, io.SEEK_CUR)
            dropped += 1
        else:
            kept.write(head + read_at_most(file, length + 4))
    kept.seek(0)
    return kept if dropped else None
