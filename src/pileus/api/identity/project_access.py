"""Who may read a project."""

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import found
from pileus.api.request import Request
from pileus.model.projects import Project
from pileus.store.projects import PROJECTS


def may_read(request: Request, project: Project | None) -> bool:
    """Whether the caller may read the project."""
    if may.sees_all(request):
        return True
    return project is not None and (may.reads_domain(request, project.domain_id or project.id) or request.identity.project_id == project.id)


async def readable_project(request: Request, action: str) -> Project:
    """The path's project, when the caller may read it."""
    project_id = request.params["project_id"]
    project = await PROJECTS.get(request.cloud.db, project_id)
    may.demand(may_read(request, project), action)
    return found(project, "project", project_id)
