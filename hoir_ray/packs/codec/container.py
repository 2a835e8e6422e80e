"""The frame of a .hoir file: who it is, a header, the coded numbers, and a checksum over all of it.

| bytes | |
|---|---|
| 4 | `HOIR` |
| 1 | format number, here 1 |
| 1 to 4 | length n of the header: seven bits a byte, the lowest first, the top bit says that more follow |
| n | the header, as `header` packs it |
| 2 | the lower half of a CRC-32 of the tensors' names and shapes, as `file` writes them |
| the rest but 4 | the coded numbers, as `tensors` codes them |
| 4 | CRC-32 of everything before, the highest byte first |
"""

from __future__ import annotations

import zlib

from hoir_ray import __version__
from hoir_ray.errors import PackError

MAGIC, FORMAT = b"HOIR", 1
CHECKSUM_BYTES = 4
MIN_BYTES = len(MAGIC) + 1 + 1 + CHECKSUM_BYTES
MAX_BYTES = 2**30
_MAX_LENGTH_BYTES = 4


def join(header: bytes, body: bytes) -> bytes:
    """A whole file."""
    content = MAGIC + bytes([FORMAT]) + _length(len(header)) + header + body
    return content + zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big")


def split(content: bytes, *, name: str) -> tuple[bytes, bytes]:
    """Header and body of a file, the body being what lies between header and checksum.

    Args:
        name: The file's, for messages.

    Raises:
        PackError: If it is no such file, of a newer format, or damaged anywhere.
    """
    if not content.startswith(MAGIC):
        raise PackError(f"{name}: is not a .hoir file; it must begin with {MAGIC.decode()}, got {content[:4]!r}")
    if len(content) < MIN_BYTES:
        raise PackError(f"{name}: damaged; cut off after {len(content)} bytes")
    # The checksum first: it covers the format number, so a flipped bit in that is damage and not another format.
    if zlib.crc32(content[:-CHECKSUM_BYTES]) != int.from_bytes(content[-CHECKSUM_BYTES:], "big"):
        raise PackError(f"{name}: damaged; the checksum does not fit its {len(content):,} bytes")
    number = content[len(MAGIC)]
    if number != FORMAT:
        raise PackError(
            f"{name}: format {number}, and hoir_ray {__version__} reads {FORMAT}; "
            "a newer one is read by a newer hoir_ray"
        )
    inner = content[len(MAGIC) + 1 : -CHECKSUM_BYTES]
    length, start = _read_length(inner, name=name)
    if length > len(inner) - start:
        raise PackError(f"{name}: damaged; the header would be {length:,} bytes long, of {len(inner) - start:,} there")
    return inner[start : start + length], inner[start + length :]


def _length(number: int) -> bytes:
    if number >= 1 << 7 * _MAX_LENGTH_BYTES:
        raise PackError(f"a header may have {(1 << 7 * _MAX_LENGTH_BYTES) - 1:,} bytes, got {number:,}")
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _read_length(inner: bytes, *, name: str) -> tuple[int, int]:
    length = 0
    for position, byte in enumerate(inner[:_MAX_LENGTH_BYTES]):
        length |= (byte & 127) << 7 * position
        if byte < 128:
            return length, position + 1
    raise PackError(f"{name}: damaged; the header's length does not end")
