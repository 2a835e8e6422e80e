"""Integers of unknown spread as bits: first how many binary digits the magnitude has, then sign and digits."""

from __future__ import annotations

from hoir_ray.packs.codec.range_coder import Bits, RangeDecoder, RangeEncoder

MAX_DIGITS = 33  # the difference of two integers below 2**30, and a little more
_SIGN = MAX_DIGITS
_FIRST = _SIGN + 1
_SECOND = _FIRST + MAX_DIGITS + 1
_NUM_NODES = _SECOND + 2 * (MAX_DIGITS + 1)


class IntegerModel:
    """Learns how large its integers are: adaptive bits for the number of digits, the sign and the two digits below
    the leading one. The remaining digits are as good as even.

    Source: Elias 1975, "Universal codeword sets", for the gamma code that the tree of decisions follows.
    """

    def __init__(self) -> None:
        self._bits = Bits(_NUM_NODES)

    def encode(self, value: int, coder: RangeEncoder) -> None:
        bits, magnitude = self._bits, abs(value)
        digits = magnitude.bit_length()
        if digits > MAX_DIGITS:
            raise ValueError(f"must have at most {MAX_DIGITS} binary digits, got {value}")
        for node in range(digits):
            coder.encode(bits, node, 1)
        if digits < MAX_DIGITS:
            coder.encode(bits, digits, 0)
        if digits == 0:
            return
        coder.encode(bits, _SIGN, int(value < 0))
        if digits >= 2:
            first = magnitude >> digits - 2 & 1
            coder.encode(bits, _FIRST + digits, first)
            if digits >= 3:
                coder.encode(bits, _SECOND + 2 * digits + first, magnitude >> digits - 3 & 1)
                coder.encode_evenly(magnitude, num_bits=digits - 3)

    def decode(self, coder: RangeDecoder) -> int:
        bits, digits = self._bits, 0
        while digits < MAX_DIGITS and coder.decode(bits, digits):
            digits += 1
        if digits == 0:
            return 0
        negative, magnitude = coder.decode(bits, _SIGN), 1
        if digits >= 2:
            first = coder.decode(bits, _FIRST + digits)
            magnitude = magnitude << 1 | first
            if digits >= 3:
                magnitude = magnitude << 1 | coder.decode(bits, _SECOND + 2 * digits + first)
                magnitude = magnitude << digits - 3 | coder.decode_evenly(num_bits=digits - 3)
        return -magnitude if negative else magnitude
