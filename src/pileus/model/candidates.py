"""Allocation candidates: what is asked for in groups, and the ways in which providers can give it."""

from pileus.model.base import Model

TraitSets = tuple[frozenset[str], ...]
"""Traits of which one of each set is wanted."""


class Group(Model, frozen=True, kw_only=True):
    """One group of a request. The group without a suffix may be spread over a tree and its sharing providers, others are one provider's.

    `member_of` wants one aggregate of each set; `in_tree` is any provider of the tree that is meant.
    """

    suffix: str = ""
    resources: dict[str, int] = {}
    required: TraitSets = ()
    forbidden: frozenset[str] = frozenset()
    member_of: TraitSets = ()
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None


class CandidateRequest(Model, frozen=True, kw_only=True):
    """What `GET /allocation_candidates` asks. `isolate`: groups with a suffix are on different providers.

    `nested` False (before 1.29): no two providers of one tree in an answer.
    """

    groups: list[Group]
    limit: int | None = None
    isolate: bool = False
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: list[frozenset[str]] = []
    nested: bool = True


class Share(Model, frozen=True, kw_only=True):
    """What one provider gives."""

    resources: dict[str, int]


class AllocationRequest(Model, frozen=True, kw_only=True):
    """One way to give all that is asked: each provider's share, and which providers satisfy which group. Encoded as the API shows it."""

    allocations: dict[str, Share]
    mappings: dict[str, list[str]]


class Candidates(Model, frozen=True, kw_only=True):
    """The ways, and the providers of all trees that take part in them."""

    requests: list[AllocationRequest]
    providers: list[str]
