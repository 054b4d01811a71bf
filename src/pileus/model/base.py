"""The base of every struct: frozen, keyword-only, quick to encode."""

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A value that never changes; a changed copy is made with `msgspec.structs.replace`."""


class Resource(Model, frozen=True, kw_only=True):
    """A stored row. Times are seconds since the epoch (float); `generation` grows by one at every update."""

    id: str
    created_at: float = 0.0
    updated_at: float = 0.0
    generation: int = 0
