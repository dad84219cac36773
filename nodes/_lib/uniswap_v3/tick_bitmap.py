"""Which ticks are initialised: one bit each, in words of 256. Source: TickBitmap of Uniswap v3-core 1.0.1."""

from __future__ import annotations

from nodes._lib.uniswap_v3.integers import require

_WORD = (1 << 256) - 1


def flip_tick(words: dict[int, int], tick: int, spacing: int) -> None:
    """Turn a tick's bit over; revert for a tick that is not on the spacing."""
    require(tick % spacing == 0)
    compressed = tick // spacing
    word = words.get(compressed >> 8, 0) ^ (1 << (compressed & 255))
    if word:
        words[compressed >> 8] = word
    else:
        words.pop(compressed >> 8, None)


def next_tick_within_one_word(words: dict[int, int], tick: int, spacing: int, lte: bool) -> tuple[int, bool]:
    """Return (tick, whether it is initialised): the next one at or below `tick` (`lte`), or above it.

    Where the word holds none it is the word's last tick in that direction: a swap's step ends there all the same.
    """
    compressed = tick // spacing
    if lte:
        bit = compressed & 255
        found = words.get(compressed >> 8, 0) & ((2 << bit) - 1)
        if found:
            return (compressed - bit + found.bit_length() - 1) * spacing, True
        return (compressed - bit) * spacing, False
    compressed += 1
    bit = compressed & 255
    found = words.get(compressed >> 8, 0) & (_WORD ^ ((1 << bit) - 1))
    if found:
        return (compressed - bit + (found & -found).bit_length() - 1) * spacing, True
    return (compressed - bit + 255) * spacing, False
