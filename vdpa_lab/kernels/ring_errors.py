"""What can be wrong with a virtqueue. A ring kernel returns a count, or one of these values, negated."""

from __future__ import annotations

from enum import IntEnum


class RingError(IntEnum):
    """One broken rule: `split` and `packed` are the clauses of VIRTIO 1.3 that it breaks, `words` says how.

    ZERO_LENGTH, NO_ROOM and TABLE_MISPLACED break no clause: they name the one that they belong to.
    """

    split: str
    packed: str
    words: str

    def __new__(cls, value: int, split: str, packed: str, words: str) -> RingError:
        member = int.__new__(cls, value)
        member._value_ = value
        member.split, member.packed, member.words = split, packed, words
        return member

    @property
    def clause(self) -> str:
        """The clauses of VIRTIO 1.3, split ring first."""
        return ", ".join(clause for clause in (self.split, self.packed) if clause)

    def __str__(self) -> str:
        return f"{self.words} (VIRTIO 1.3, {self.clause})"

    # Seen by the device.
    AVAIL_TOO_FAR = 1, "2.7.13", "", "the available index is ahead of the used one by more than the queue size"
    HEAD_OUT_OF_RANGE = 2, "2.7.6", "", "an available ring entry names a descriptor beyond the table"
    NEXT_OUT_OF_RANGE = 3, "2.7.5", "", "the next field of a descriptor points beyond its table"
    CHAIN_LOOPS = 4, "2.7.5.2", "", "a descriptor chain runs in a circle"
    CHAIN_TOO_LONG = 5, "2.7.5.3.1", "2.8.17", "a chain has more descriptors than the queue"
    CHAIN_TOO_BIG = 6, "2.7.5.2", "", "the descriptors of a chain add up to more than 2^32 bytes"
    ZERO_LENGTH = 7, "2.7.5", "2.8.4", "a descriptor describes no bytes, and QEMU's virtqueue_map_desc refuses it"
    READABLE_AFTER_WRITABLE = 8, "2.7.4.2", "2.8.17", "a device-readable element follows a device-writable one"
    INDIRECT_NOT_NEGOTIATED = 9, "2.7.5.3.1", "2.8.19", "an indirect descriptor without VIRTIO_F_INDIRECT_DESC"
    INDIRECT_IN_INDIRECT = 10, "2.7.5.3.1", "", "an indirect table holds an indirect descriptor"
    INDIRECT_AND_NEXT = 11, "2.7.5.3.1", "2.8.19", "an indirect descriptor is linked with a next one"
    INDIRECT_LENGTH = 12, "2.7.5.3", "2.8.7", "an indirect table is not a whole number of descriptors, or is empty"
    INDIRECT_OUTSIDE = 13, "2.7.5.3", "2.8.7", "an indirect table is not wholly in the memory of the guest"
    LIST_NOT_AVAILABLE = 14, "", "2.8.6", "a descriptor inside a list is not marked available"
    # Seen by the driver.
    USED_TOO_FAR = 15, "2.7.8", "", "the used index is ahead by more buffers than are outstanding"
    USED_OUT_OF_RANGE = 16, "2.7.8", "2.8.22", "a used entry names an id beyond the queue"
    USED_NOT_OUTSTANDING = 17, "2.7.8", "2.8.22", "a used entry names an id that is not outstanding"
    # Refused to the caller, before the other side could see it.
    EMPTY_CHAIN = 18, "2.7.13.1", "2.8", "a buffer has at least one element"
    RING_FULL = 19, "2.7.13.1", "2.8.17", "not enough free descriptors for the whole buffer"
    NO_ROOM = 20, "2.7.4.1", "2.8.18", "the buffer has more elements than the caller's arrays"
    NOTHING_IN_USE = 21, "2.7.8", "2.8.12", "the device gives back more than it has taken"
    TABLE_MISPLACED = 22, "2.7.5.3", "2.8.7", "the driver's own indirect table is outside memory or off a 16-byte step"


def raised(result: int) -> int:
    """The result of a ring kernel, or ValueError with the broken clause in words if it is an error value."""
    if result < 0:
        raise ValueError(str(RingError(-result)))
    return int(result)
