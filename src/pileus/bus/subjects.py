"""The names under which the levels speak to each other on a message bus, and who may use which."""

import re
from urllib.parse import quote, unquote

from pileus.bus.nkeys import Permissions
from pileus.model.base import Model


def token(name: str) -> str:
    """A name as one part of a subject: letters, digits and hyphens stay, the rest is written in hexadecimal."""
    return re.sub(r"[._~%]", lambda found: "_" if found[0] == "%" else f"_{ord(found[0]):02X}", quote(name, safe=""))


def name_of(part: str) -> str:
    """The name that a part of a subject stands for."""
    return unquote(part.replace("_", "%"))


class Subjects(Model, frozen=True, kw_only=True):
    """The subjects of one cloud; several clouds may share a bus."""

    cloud: str

    def node(self, host: str) -> str:
        """Requests to a host."""
        return f"pileus.{self.cloud}.node.{token(host)}"

    def reply(self, host: str, asker: str, number: int | str) -> str:
        """A host's reply to one request."""
        return f"{self.replies_of(host)}{asker}.{number}"

    def replies_of(self, host: str) -> str:
        """What the subjects of a host's replies begin with."""
        return f"pileus.{self.cloud}.reply.{token(host)}."

    def replies_to(self, asker: str) -> str:
        """All replies to one asker."""
        return f"pileus.{self.cloud}.reply.*.{asker}.*"

    def report(self, host: str) -> str:
        """A host's reports; "*" for all hosts'."""
        return f"pileus.{self.cloud}.report.{host if host == '*' else token(host)}"

    def wake(self, name: str) -> str:
        """Wake-ups of a reconciler; ">" for all."""
        return f"pileus.{self.cloud}.wake.{name}"

    def stream(self, host: str, asker: str, number: int | str, way: str) -> str:
        """Bytes of a console: `way` is "up" towards the host, "down" from it."""
        return f"pileus.{self.cloud}.stream.{token(host)}.{way}.{asker}.{number}"

    def streams_to(self, asker: str) -> str:
        """What hosts send by all streams of one asker."""
        return f"pileus.{self.cloud}.stream.*.down.{asker}.*"

    def streams_of(self, host: str) -> str:
        """What is sent to a host by all its streams."""
        return f"pileus.{self.cloud}.stream.{token(host)}.up.>"

    def of_node(self, host: str) -> Permissions:
        """What a host may use: requests to itself, its own replies, reports and streams."""
        mine = token(host)
        return Permissions(
            publish=[f"pileus.{self.cloud}.{kind}" for kind in (f"reply.{mine}.>", f"report.{mine}", f"stream.{mine}.down.>")],
            subscribe=[f"pileus.{self.cloud}.{kind}" for kind in (f"node.{mine}", f"stream.{mine}.up.>")],
        )

    def of_manager(self) -> Permissions:
        """What the processes of the cloud and of the clusters may use: all of this cloud's."""
        return Permissions(publish=[f"pileus.{self.cloud}.>"], subscribe=[f"pileus.{self.cloud}.>"])
