"""Frames between a runner and the processes of its members: eight bytes of length, then a pickle.

Both ends are processes of one installation, and no other process can write to the socket between them. So a pickle is
as safe as the program itself.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from models.training.members import MemberData, MemberTask, Report

__all__ = ["AskState", "Command", "Incoming", "Share", "SharedData", "receive", "send"]

LENGTH = struct.Struct("<Q")
#: Bytes of a cache line, at which each shared array begins.
ALIGNMENT = 64


@dataclass(frozen=True)
class Share:
    """Data under a name. The frame comes with a descriptor of memory, in which the arrays are.

    ``pickled`` is the data without the arrays, and ``places`` has the first byte and the length of each.
    """

    name: str
    pickled: bytes
    places: list[tuple[int, int]]

    def data(self, descriptor: int) -> MemberData:
        """The data, whose arrays are read from the shared memory; closes the descriptor."""
        try:
            memory = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
        views = [memory[start : start + length] for start, length in self.places]
        data: MemberData = pickle.loads(self.pickled, buffers=views)  # noqa: S301 - from our own runner
        return data


@dataclass(frozen=True)
class AskState:
    """Report a state and go on."""


Command = Share | MemberTask | AskState


class SharedData:
    """Data in memory that all processes map, so that it is there once, however many members read it.

    An array that is not contiguous is sent to each process instead.
    """

    def __init__(self, name: str, data: MemberData) -> None:
        arrays: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(data, protocol=5, buffer_callback=arrays.append)
        #: A file without a name, which is gone with the last process that has opened or mapped it.
        self.descriptor = os.memfd_create("trainyard-members")
        places, end = [], 0
        with open(self.descriptor, "wb", closefd=False) as file:
            for array in arrays:
                content = array.raw()
                start = -(-end // ALIGNMENT) * ALIGNMENT
                file.write(bytes(start - end))
                file.write(content)
                places.append((start, content.nbytes))
                end = start + content.nbytes
            file.write(b"\0")  # A file without any bytes cannot be mapped.
        self.frame = Share(name, pickled, places)

    def close(self) -> None:
        """Close this process's descriptor."""
        os.close(self.descriptor)


def send(connection: socket.socket, value: Command | Report, *descriptors: int) -> None:
    """Send one frame, and descriptors with it. Raises OSError if the other process has ended."""
    content = pickle.dumps(value, protocol=5)
    # They belong to the first byte that is sent, so the length goes alone: it is sent as a whole.
    socket.send_fds(connection, [LENGTH.pack(len(content))], descriptors)
    connection.sendall(content)


def receive(connection: socket.socket) -> tuple[Command, list[int]] | None:
    """Wait for a command and the descriptors that come with it; None if the runner has closed the connection."""
    length, descriptors = b"", []
    while len(length) < LENGTH.size:
        piece, received, _flags, _address = socket.recv_fds(connection, LENGTH.size - len(length), 1)
        if not piece:
            return None
        length += piece
        descriptors += received
    content = bytearray(LENGTH.unpack(length)[0])
    left = memoryview(content)
    while left:
        count = connection.recv_into(left)
        if not count:
            return None
        left = left[count:]
    return pickle.loads(content), descriptors  # noqa: S301 - from our own runner


class Incoming:
    """What has arrived of a process's frames, in pieces of any size."""

    def __init__(self) -> None:
        self._content = bytearray()

    def add(self, piece: bytes) -> Iterator[Any]:
        """Add a piece, and return the values of the frames that it completes."""
        self._content += piece
        while len(self._content) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._content)[0]
            if len(self._content) < end:
                return
            value = pickle.loads(memoryview(self._content)[LENGTH.size : end])  # noqa: S301 - from our own member
            del self._content[:end]
            yield value
