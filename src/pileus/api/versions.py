"""Microversions: the newest form is code, each older one is a small transform with its line of prose."""

from collections.abc import Callable
from typing import Any

from pileus.api.request import Request, Response, Version
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotAcceptable

Transform = Callable[[Request, Any], Any]
Answer = Callable[[Request, Response], Response]
EVERY = "*"


class Change(Model, frozen=True, kw_only=True):
    """What version `version` brought. `responses` turns a document of this version into one of the version before, by the route's `shape`;
    `requests` turns a body of the version before into one of this version (and refuses fields that came only now). `answers` changes
    what is not the document: status and headers, by the route's `shape` or for EVERY one."""

    version: Version
    text: str
    responses: dict[str, Transform] = {}
    requests: dict[str, Transform] = {}
    answers: dict[str, Answer] = {}


class History(Model, frozen=True, kw_only=True):
    """A service's versions. `changes` stands newest first. `header` is the service's word in OpenStack-API-Version;
    `legacy_header` the older header that carries the number alone."""

    header: str
    minimum: Version
    maximum: Version
    changes: list[Change] = []
    legacy_header: str | None = None

    def negotiate(self, request: Request) -> Version:
        """The version that the request asks for; the minimum when it does not say."""
        text = self._asked(request)
        if text is None:
            return self.minimum
        if text == "latest":
            return self.maximum
        major, dot, minor = text.partition(".")
        if (
            not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit())
            or (len(minor) > 1 and minor[0] == "0")
            or len(text) > 18
        ):
            raise Invalid(f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.")
        version = (int(major), int(minor))
        if not self.minimum <= version <= self.maximum:
            raise NotAcceptable(
                f"Version {text} is not supported by the API. Minimum is {dotted(self.minimum)} and maximum is {dotted(self.maximum)}.",
                minimum=dotted(self.minimum),
                maximum=dotted(self.maximum),
            )
        return version

    def _asked(self, request: Request) -> str | None:
        for part in request.headers.get("openstack-api-version", "").split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == self.header:
                return words[1]
        if self.legacy_header:
            return request.headers.get(self.legacy_header.lower())
        return None

    def answer_headers(self, version: Version) -> dict[str, str]:
        """The headers that say which version was answered."""
        headers = {"OpenStack-API-Version": f"{self.header} {dotted(version)}", "Vary": "OpenStack-API-Version"}
        if self.legacy_header:
            headers[self.legacy_header] = dotted(version)
            headers["Vary"] += f", {self.legacy_header}"
        return headers

    def upgrade(self, request: Request, shape: str, body: Any) -> Any:
        """A body of the request's version in the newest form."""
        for change in reversed(self.changes):
            if change.version > request.version and shape in change.requests:
                body = change.requests[shape](request, body)
        return body

    def changed(self, version: Version, shape: str) -> bool:
        """Whether documents of this shape have changed since a version."""
        return any(change.version > version and shape in change.responses for change in self.changes)

    def downgrade(self, request: Request, shape: str, document: Any) -> Any:
        """A document of the newest form in the request's version."""
        for change in self.changes:
            if change.version <= request.version:
                break
            if shape in change.responses:
                document = change.responses[shape](request, document)
        return document

    def downgrade_answer(self, request: Request, shape: str, response: Response) -> Response:
        """A response of the newest form with the status and headers of the request's version."""
        for change in self.changes:
            if change.version <= request.version:
                break
            answer = change.answers.get(shape) or change.answers.get(EVERY)
            if answer:
                response = answer(request, response)
        return response


def dotted(version: Version) -> str:
    """2.96 for (2, 96)."""
    return f"{version[0]}.{version[1]}"
