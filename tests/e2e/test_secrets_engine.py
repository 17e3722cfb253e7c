"""A Docker Engine cannot be given secrets: who asks for it is told at registration, and nothing is stored."""
import pytest

from support import unique


def test_a_function_of_an_engine_with_secrets_is_refused_and_told_why(platform, client):
    if platform.is_native:
        pytest.skip("no engine runs functions here")
    name = unique("f")
    assert client.put("/v1/secrets/db", {"value": "v"}).status in (200, 201)
    body = {"name": name, "description": "", "payload": "faas-examples/echo:latest"}
    detail = client.post("/registry/register", {**body, "secrets": ["db"]}).problem(422, "unprocessable")["detail"]
    assert "Docker Engine" in detail and "native" in detail, detail
    client.get(f"/v1/functions/{name}").problem(404, "not_found")
    assert client.post("/registry/register", body).status == 201
    client.put("/registry/update", {"name": name, "secrets": ["db"]}).problem(422, "unprocessable")
    assert client.get(f"/v1/functions/{name}").json["secrets"] == []
    assert client.delete("/v1/secrets/db").status == 204
