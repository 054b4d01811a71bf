"""Messages as bytes: MessagePack of the typed structs, deflated when they are large."""

import zlib
from typing import Any

import msgspec

from pileus.model.errors import Invalid
from pileus.model.hosts import HostReport
from pileus.model.messages import NodeReply, NodeRequest

PLAIN, DEFLATED = b"\0", b"\1"
LARGE = 16 << 10
LARGEST = 64 << 20
"""Bytes that a message may be inflated to."""

_requests: msgspec.msgpack.Decoder[NodeRequest] = msgspec.msgpack.Decoder(NodeRequest)  # type: ignore[arg-type]
_replies: msgspec.msgpack.Decoder[NodeReply] = msgspec.msgpack.Decoder(NodeReply)  # type: ignore[arg-type]
_reports = msgspec.msgpack.Decoder(HostReport)


def encode(message: Any) -> bytes:
    """The bytes of a message."""
    raw = msgspec.msgpack.encode(message)
    return PLAIN + raw if len(raw) < LARGE else DEFLATED + zlib.compress(raw, 1)


def request(data: bytes) -> NodeRequest:
    """The request that the bytes are; Invalid when they are none."""
    return _decoded(_requests, data)


def reply(data: bytes) -> NodeReply:
    """The reply that the bytes are; Invalid when they are none."""
    return _decoded(_replies, data)


def report(data: bytes) -> HostReport:
    """The report that the bytes are; Invalid when they are none."""
    return _decoded(_reports, data)


def plain_request(data: bytes) -> NodeRequest:
    """The request that bytes of this machine are, never deflated; Invalid when they are none."""
    return _decoded(_requests, PLAIN + data)


def plain_reply(data: bytes) -> NodeReply:
    """The reply that bytes of this machine are; Invalid when they are none."""
    return _decoded(_replies, PLAIN + data)


def plain_report(data: bytes) -> HostReport:
    """The report that bytes of this machine are; Invalid when they are none."""
    return _decoded(_reports, PLAIN + data)


def _decoded(decoder: Any, data: bytes) -> Any:
    try:
        if data[:1] == PLAIN:
            return decoder.decode(data[1:])
        if data[:1] != DEFLATED:
            raise Invalid("A message on the bus is of a form that this version does not know.")
        inflater = zlib.decompressobj()
        raw = inflater.decompress(data[1:], LARGEST)
        if inflater.unconsumed_tail:
            raise Invalid("A message on the bus is larger than any of ours.")
        return decoder.decode(raw)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"A message on the bus is not what it should be: {error}") from error
