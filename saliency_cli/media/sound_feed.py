"""The sound of a stream that can be read only once: its packets, from who demuxes it to who writes products."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, cast

import av

__all__ = ["AudioPacket", "Piece", "SoundFeed"]

AudioPacket: TypeAlias = "av.Packet[av.AudioStream]"


@dataclass(frozen=True, slots=True)
class Piece:
    """A packet of sound, of which each product makes its own. Times in units of ``time_base``."""

    content: bytes
    pts: int
    duration: int
    time_base: Fraction

    def packet(self) -> AudioPacket:
        """A packet of nobody's stream."""
        packet = cast(AudioPacket, av.Packet(self.content))
        packet.pts, packet.dts, packet.duration, packet.time_base = self.pts, self.pts, self.duration, self.time_base
        return packet


class SoundFeed:
    """One sound stream of a container that another thread demuxes: number ``which``, from 1, of ``streams``.

    Whoever wants the sound subscribes before the first packet comes, and takes from a queue of its own. What nobody
    subscribed to is dropped. A queue holds compressed sound, as far as that lies ahead of the pictures in the stream.
    """

    def __init__(self, stream: av.AudioStream, *, which: int, streams: int) -> None:
        self.stream, self.which, self.streams = stream, which, streams
        self._queues: list[deque[Piece]] = []

    def subscribe(self) -> deque[Piece]:
        """A queue that fills from now on."""
        queue: deque[Piece] = deque()
        self._queues.append(queue)
        return queue

    def leave(self, queue: deque[Piece]) -> None:
        """Let a queue fill no more; harmless when repeated."""
        self._queues = [other for other in self._queues if other is not queue]
        queue.clear()

    @property
    def heard(self) -> bool:
        """Whether anybody has subscribed."""
        return bool(self._queues)

    def put(self, packet: AudioPacket) -> None:
        """Hand a packet to all who have subscribed."""
        if self._queues and packet.pts is not None and packet.size:
            piece = Piece(bytes(packet), packet.pts, packet.duration or 0, packet.time_base)
            for queue in self._queues:
                queue.append(piece)
