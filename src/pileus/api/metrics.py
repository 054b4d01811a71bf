"""What is counted of requests: by service and route how many were answered how, and how long that took."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pileus.api.request import Request, Response
from pileus.core.metrics import Family, Histogram, counter, histogram

if TYPE_CHECKING:
    from pileus.api.routes import Route


class _Series:
    """The figures of one route."""

    __slots__ = ("route", "seconds", "service", "statuses")

    def __init__(self, service: str, route: str) -> None:
        self.service = service
        self.route = route
        self.statuses: dict[int, int] = {}
        self.seconds = Histogram()


class RequestMetrics:
    """A watcher of the chain. A request that found no route is counted as its service's, without a route: paths are not labels."""

    def __init__(self) -> None:
        self._series: dict[int | str, _Series] = {}  # by the route's identity: tables of routes live as long as the process

    def __call__(self, request: Request, response: Response, seconds: float) -> None:
        """Count an answer."""
        route: Route | None = getattr(request, "route", None)
        service = getattr(request, "service", None)
        key: int | str = id(route) if route is not None else service.name if service is not None else ""
        series = self._series.get(key)
        if series is None:
            name = f"{route.method} /{route.path.lstrip('/')}" + (f" {route.action}" if route.action else "") if route is not None else ""
            series = self._series[key] = _Series(service.name if service is not None else "", name)
        series.statuses[response.status] = series.statuses.get(response.status, 0) + 1
        series.seconds.observe(seconds)

    def families(self) -> Iterator[Family]:
        """What was counted so far."""
        found = list(self._series.values())
        yield counter(
            "pileus_requests_total",
            "Requests of the API that were answered.",
            [
                ({"service": one.service, "route": one.route, "status": str(status)}, count)
                for one in found
                for status, count in sorted(one.statuses.items())
            ],
        )
        yield histogram(
            "pileus_request_seconds",
            "From a request's head to the beginning of its answer.",
            [({"service": one.service, "route": one.route}, one.seconds) for one in found],
        )
