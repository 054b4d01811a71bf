"""A public image tells everybody what it is, and nobody how it came."""

from tests.api.harness import TestCloud


def test_the_tasks_of_an_image_are_shown_to_its_owner_alone(cloud: TestCloud) -> None:
    body = {"name": "everybody's", "visibility": "public", "disk_format": "raw", "container_format": "bare"}
    image = f"/image/v2/images/{cloud.call('POST', '/image/v2/images', 'admin', body).json['id']}"
    assert cloud.call("GET", image, "other_project_member").status == 200
    assert cloud.call("GET", f"{image}/tasks", "other_project_member").status == 403
    assert cloud.call("GET", f"{image}/tasks", "admin").status == 200
