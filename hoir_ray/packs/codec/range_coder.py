"""A binary arithmetic coder whose probabilities adapt as bits are coded; integers alone, so that every machine agrees.

Ours and not a library's: a file must be readable when no library of today is, and to the bit. Libraries' models are
tables of floating-point probabilities, whose last digits depend on the machine's `exp` and on the library's version.

Source: Martin 1979, "Range encoding"; Rissanen and Langdon 1979, "Arithmetic coding", for the binary case.
"""

from __future__ import annotations

_PROBABILITY_BITS = 16
_CERTAIN = 1 << _PROBABILITY_BITS
_LOWEST = 32  # of a probability; a bit never costs less than 0.0007 bits, so a file bounds what it can hold
_FULL, _RENORMALIZE = 0xFFFF_FFFF, 1 << 24
_MEMORY = 100  # bits that a probability is the average of, at most
MAX_BITS_PER_BYTE = 8 * _CERTAIN // _LOWEST


class Bits:
    """Adaptive probabilities of a 1, one for each node of a binary decision tree."""

    def __init__(self, num_nodes: int) -> None:
        self.probability = [_CERTAIN // 2] * num_nodes
        self.count = [0] * num_nodes

    def learn(self, node: int, bit: int) -> None:
        """Move the node's probability towards `bit`, by less the more bits it has seen."""
        p, n = self.probability[node], self.count[node]
        if bit:
            p = min(p + 5 * (_CERTAIN - p) // (5 * n + 8), _CERTAIN - _LOWEST)
        else:
            p = max(p - 5 * p // (5 * n + 8), _LOWEST)
        self.probability[node] = p
        if n < _MEMORY:
            self.count[node] = n + 1


class RangeEncoder:
    """Turns bits into bytes; `finish` returns them."""

    def __init__(self) -> None:
        self._low, self._range, self._bytes = 0, _FULL, bytearray()

    def encode(self, bits: Bits, node: int, bit: int) -> None:
        bound = (self._range >> _PROBABILITY_BITS) * bits.probability[node]
        if bit:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        bits.learn(node, bit)
        self._renormalize()

    def encode_evenly(self, value: int, *, num_bits: int) -> None:
        """Bits that are as likely 0 as 1, the highest first."""
        for shift in range(num_bits - 1, -1, -1):
            self._range >>= 1
            if not value >> shift & 1:
                self._low += self._range
            self._renormalize()

    def finish(self) -> bytes:
        """The shortest bytes that decode to what was encoded; missing ones at the end are read as zeros."""
        highest = self._low + self._range - 1
        shift = next(s for s in range(32, -1, -1) if highest >> s << s >= self._low)
        self._low = highest >> shift << shift
        for _ in range(4):
            self._emit()
        return bytes(self._bytes).rstrip(b"\0")

    def _renormalize(self) -> None:
        while self._range < _RENORMALIZE:
            self._emit()
            self._range <<= 8

    def _emit(self) -> None:
        if self._low > _FULL:
            self._carry()
        self._bytes.append(self._low >> 24)
        self._low = self._low << 8 & _FULL

    def _carry(self) -> None:
        self._low &= _FULL
        last = len(self._bytes) - 1
        while self._bytes[last] == 255:
            self._bytes[last] = 0
            last -= 1
        self._bytes[last] += 1


class RangeDecoder:
    """Turns bytes back into bits, asked with the same probabilities in the same order."""

    def __init__(self, content: bytes) -> None:
        self._content, self._next = content, 4
        self._range = _FULL
        self._code = int.from_bytes(content[:4].ljust(4, b"\0"), "big")

    def decode(self, bits: Bits, node: int) -> int:
        bound = (self._range >> _PROBABILITY_BITS) * bits.probability[node]
        bit = int(self._code < bound)
        if bit:
            self._range = bound
        else:
            self._code -= bound
            self._range -= bound
        bits.learn(node, bit)
        self._renormalize()
        return bit

    def decode_evenly(self, *, num_bits: int) -> int:
        value = 0
        for _ in range(num_bits):
            self._range >>= 1
            bit = int(self._code < self._range)
            if not bit:
                self._code -= self._range
            value = value << 1 | bit
            self._renormalize()
        return value

    def _renormalize(self) -> None:
        while self._range < _RENORMALIZE:
            byte = self._content[self._next] if self._next < len(self._content) else 0
            self._code = (self._code << 8 | byte) & _FULL
            self._range <<= 8
            self._next += 1
