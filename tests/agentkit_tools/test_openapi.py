"""Operations of an OpenAPI document as tools."""

import copy
import json
from collections.abc import Iterator, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from agentkit_tools import OpenApi

from agentkit import Agent, Tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, context
from tests.agentkit_tools.site import Seen, Site, running

pytestmark = pytest.mark.anyio


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
    return (
        200,
        {"content-type": "application/json"},
        json.dumps({"path": seen.path, "body": seen.body.decode()}).encode(),
    )


class Anywhere(dict[str, Any]):
    """Every path answers what it was asked."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, echo)


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as made:
        made.pages = Anywhere()
        yield made


PETS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "https://{region}.pets.test/v1/", "variables": {"region": {"default": "eu"}}}],
    "paths": {
        "/pets": {
            "parameters": [{"$ref": "#/components/parameters/Trace"}],
            "get": {
                "operationId": "pets.list",
                "summary": "List pets.",
                "tags": ["read"],
                "parameters": [
                    {"name": "kind", "in": "query", "schema": {"type": "string", "enum": ["cat", "dog"]}},
                    {"name": "ids", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}},
                    {"name": "tags", "in": "query", "explode": False, "schema": {"type": "array", "items": {}}},
                    {"name": "where", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 0}},
                ],
            },
            "post": {
                "operationId": "createPet",
                "description": "Add a pet.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
            },
        },
        "/pets/{id}": {
            "get": {
                "summary": "Get a pet.",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            },
            "patch": {
                "operationId": "change",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "id", "in": "query", "schema": {"type": "string"}},
                ],
                "requestBody": {
                    "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
                },
            },
        },
    },
    "components": {
        "parameters": {
            "Trace": {"name": "X-Trace", "in": "header", "description": "A trace.", "schema": {"type": "string"}}
        },
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string", "example": "Rex"},
                    "age": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
                    "mother": {"$ref": "#/components/schemas/Pet"},
                    "home": {"allOf": [{"$ref": "#/components/schemas/Home"}], "nullable": True},
                },
            },
            "Home": {"type": "object", "x-internal": 1, "properties": {"city": {"type": "string"}}},
        },
    },
}


def document(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PETS), **more}


def api(site: Site, raw: dict[str, Any] | None = None, **options: Any) -> OpenApi:
    base = f"http://pets.test:{site.port}/v1"
    return OpenApi(raw or document(), base, private=["127.0.0.0/8"], resolve=loopback, **options)


async def used(tool: Tool, **arguments: Any) -> Any:
    result = await tool.call(context(None), json.dumps(arguments))
    return json.loads(result.content.split("\n\n", 1)[1])


def test_each_operation_is_a_tool_and_only_reading_is_free() -> None:
    tools = OpenApi(document())
    assert [each.name for each in tools] == ["pets_list", "createPet", "get_pets_id", "change"]
    assert [each.read_only for each in tools] == [True, False, True, False]
    assert [each.requires_approval for each in tools] == [False, True, False, True]
    assert tools["pets_list"].description == "List pets.\nResults come in pages: see page."
    assert not any(each.requires_approval for each in OpenApi(document(), requires_approval=False))


def test_schemas_say_what_the_document_says_in_json_schema() -> None:
    tools = OpenApi(document())
    listed = tools["pets_list"].parameters
    assert listed["properties"]["X-Trace"] == {"type": "string", "description": "A trace."}
    assert listed["properties"]["kind"] == {"type": "string", "enum": ["cat", "dog"]}
    assert "required" not in listed
    created = tools["createPet"].parameters
    assert created["required"] == ["body"]
    pet = created["$defs"]["Pet"]
    assert pet["required"] == ["name"]
    assert pet["properties"] == {
        "name": {"type": "string"},
        "age": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "mother": {"$ref": "#/$defs/Pet"},
        "home": {"anyOf": [{"allOf": [{"$ref": "#/$defs/Home"}]}, {"type": "null"}]},
    }
    assert created["$defs"]["Home"] == {"type": "object", "properties": {"city": {"type": "string"}}}
    jsonschema.validate({"body": {"name": "Rex", "mother": {"name": "Bella", "age": None}}}, created)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"body": {"name": "Rex", "age": 0}}, created)
    assert set(tools["change"].parameters["properties"]) == {"path_id", "query_id", "body"}


async def test_arguments_go_where_the_document_says(site: Site) -> None:
    tools = api(site, auth="token-canary")
    got = await used(
        tools["pets_list"],
        **{"kind": "cat", "ids": [1, 2], "tags": ["a", "b"], "where": {"age": 3}, "page": 0, "X-Trace": "t"},
    )
    assert got["path"] == "/v1/pets?kind=cat&ids=1&ids=2&tags=a%2Cb&where%5Bage%5D=3&page=0"
    assert site.seen[-1].headers["x-trace"] == "t"
    assert site.seen[-1].headers["authorization"] == "Bearer token-canary"
    assert "idempotency-key" not in site.seen[-1].headers
    assert json.loads((await used(tools["createPet"], body={"name": "Rex"}))["body"]) == {"name": "Rex"}
    assert site.seen[-1].headers["content-type"] == "application/json"
    assert site.seen[-1].headers["idempotency-key"]
    changed = await used(tools["change"], path_id="a/../b", query_id="1&x=2", body={"name": "a b", "tags": [1, 2]})
    assert changed == {"path": "/v1/pets/a%2F..%2Fb?id=1%26x%3D2", "body": "name=a+b&tags=1&tags=2"}


@pytest.mark.parametrize(
    ("tool", "arguments", "complaint"),
    [
        ("get_pets_id", {}, "'id' is missing"),
        ("get_pets_id", {"id": ".."}, "cannot be part of a path"),
        ("get_pets_id", {"id": ""}, "cannot be part of a path"),
        ("get_pets_id", {"id": "1", "color": "red"}, "there is no argument 'color'"),
        ("pets_list", {"kind": "cow"}, 'must be one of \\["cat", "dog"\\]'),
        ("pets_list", {"X-Trace": "a\r\nHost: evil"}, "cannot be sent in a header"),
        ("createPet", {}, "'body' is missing"),
        ("change", {"path_id": "1", "body": "x"}, "must be an object"),
    ],
)
async def test_wrong_arguments_are_said_and_nothing_is_sent(
    site: Site, tool: str, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ModelRetry, match=complaint):
        await api(site)[tool].call(context(None), json.dumps(arguments))
    assert site.seen == []


@pytest.mark.parametrize(
    ("scheme", "place", "value"),
    [
        ({"type": "http", "scheme": "bearer"}, "authorization", "Bearer user:canary"),
        ({"type": "http", "scheme": "basic"}, "authorization", "Basic dXNlcjpjYW5hcnk="),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "x-key", "user:canary"),
        ({"type": "apiKey", "in": "query", "name": "key"}, "", "/v1/pets/1?key=user%3Acanary"),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, "cookie", "sid=user:canary"),
        ({"type": "oauth2", "flows": {}}, "authorization", "Bearer user:canary"),
    ],
)
async def test_credentials_go_where_the_document_says_and_the_model_never_sees_them(
    site: Site, scheme: dict[str, Any], place: str, value: str
) -> None:
    raw = document(security=[{"main": []}])
    raw["components"]["securitySchemes"] = {"other": {"type": "http", "scheme": "bearer"}, "main": scheme}
    result = await api(site, raw, auth="user:canary")["get_pets_id"].call(context(None), '{"id": "1"}')
    assert (site.seen[0].headers[place] if place else site.seen[0].path) == value
    assert "canary" not in repr(result)


async def test_cookies_join_the_one_that_carries_the_secret(site: Site) -> None:
    raw = document(security=[{"main": []}])
    raw["components"]["securitySchemes"] = {"main": {"type": "apiKey", "in": "cookie", "name": "sid"}}
    theme = {"name": "theme", "in": "cookie", "schema": {"type": "string"}}
    raw["paths"]["/pets/{id}"]["get"]["parameters"].append(theme)
    result = await api(site, raw, auth="canary")["get_pets_id"].call(context(None), '{"id": "1", "theme": "a; sid=x"}')
    assert site.seen[0].headers["cookie"] == "sid=canary; theme=a%3B%20sid%3Dx"
    assert "canary" not in repr(result)


async def test_a_multipart_body_has_a_part_for_each_member_and_files_are_named(site: Site) -> None:
    raw = document()
    properties = {"photo": {"type": "string", "format": "binary"}, "tags": {"type": "array", "items": {}}, "meta": {}}
    raw["paths"]["/pets"]["post"]["requestBody"]["content"] = {
        "multipart/form-data": {"schema": {"type": "object", "properties": properties}}
    }
    body = {"photo": "ä\r\n--x", "tags": ["a", 2], "meta": {"k": 1}}
    await api(site, raw)["createPet"].call(context(None), json.dumps({"body": body}))
    seen = site.seen[0]
    head = f"content-type: {seen.headers['content-type']}\r\n\r\n".encode()
    parsed = BytesParser(policy=HTTP).parsebytes(head + seen.body)
    assert [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in parsed.iter_parts()
    ] == [
        ("photo", "file", "ä\r\n--x".encode()),
        ("tags", None, b"a"),
        ("tags", None, b"2"),
        ("meta", None, b'{"k": 1}'),
    ]


async def test_a_server_without_a_scheme_is_asked_over_tls() -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return []

    tools = OpenApi(document(servers=[{"url": "//pets.test"}]), resolve=resolve)
    with pytest.raises(ToolError):
        await tools["pets_list"].call(context(None), "{}")
    assert asked == [("pets.test", 443)]


def test_operations_are_chosen_by_name_path_and_tag() -> None:
    assert [each.name for each in OpenApi(document(), operations=["*list", "GET /pets/*"])] == [
        "pets_list",
        "get_pets_id",
    ]
    assert [each.name for each in OpenApi(document(), tags=["read"])] == ["pets_list"]
    with pytest.raises(ConfigError, match="no operation"):
        OpenApi(document(), tags=["none"])


def test_too_many_operations_are_refused_with_what_to_do() -> None:
    raw = document(paths={f"/{number}": {"get": {}} for number in range(200)})
    with pytest.raises(ConfigError, match="has 200 operations"):
        OpenApi(raw)
    assert len(OpenApi(raw, operations=["GET /1?"])) == 10


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"openapi": None, "swagger": "2.0"}, "of version '2.0'"),
        ({"paths": None}, "has no paths"),
        ({"servers": []}, "give base_url="),
        ({"servers": [{"url": "/v1"}]}, "give base_url="),
        ({"paths": {"/x": {"$ref": "other.yaml#/x"}}}, "refers to another one"),
        ({"paths": {"/x": {"$ref": "#/nowhere"}}}, "points nowhere"),
        ({"paths": {"/x": {"$ref": "#/paths/~1x"}}}, "refers to itself"),
    ],
    ids=str,
)
def test_documents_that_cannot_be_used_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        OpenApi(document(**change))


def test_names_that_collide_or_are_not_allowed_are_changed() -> None:
    operation = {"operationId": "a b!" + "c" * 80}
    names = [each.name for each in OpenApi(document(paths={"/x": {"get": operation}, "/y": {"get": operation}}))]
    assert len(set(names)) == 2
    assert all(len(name) <= 64 for name in names)


async def test_documents_come_from_files_and_urls(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pets.json").write_text(json.dumps(document()))
    (tmp_path / "pets.yaml").write_text(
        "openapi: 3.1.0\nservers: [{url: 'https://a.test'}]\npaths:\n  /now:\n    get:\n      responses: {200: {}}\n"
    )
    assert len(OpenApi(tmp_path / "pets.json")) == 4
    assert [each.name for each in OpenApi(tmp_path / "pets.yaml")] == ["get_now"]
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        OpenApi(tmp_path / "broken.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        OpenApi(tmp_path / "missing.json")
    raw = document(servers=[{"url": "../v2"}])
    site.pages["/docs/openapi.json"] = (200, {}, json.dumps(raw).encode())
    site.pages["/gone.json"] = (404, {}, b"")
    options: dict[str, Any] = {"private": ["127.0.0.0/8"], "resolve": loopback}
    base = f"http://pets.test:{site.port}"
    fetched = await OpenApi.from_url(f"{base}/docs/openapi.json", **options)
    assert (await used(fetched["get_pets_id"], id="7"))["path"] == "/v2/pets/7"
    with pytest.raises(ConfigError, match="status 404"):
        await OpenApi.from_url(f"{base}/gone.json", **options)


async def test_an_answer_that_leads_elsewhere_is_not_followed(site: Site) -> None:
    site.pages["/v1/pets/1"] = (302, {"location": "http://169.254.169.254/"}, b"")
    with pytest.raises(ToolError, match="may not be reached"):
        await api(site, auth="canary")["get_pets_id"].call(context(None), '{"id": "1"}')


async def test_in_a_run_reading_happens_and_writing_waits(site: Site) -> None:
    model = ScriptedModel([call("pets_list", kind="cat"), call("createPet", body={"name": "Rex"})])
    paused = await Agent(model, tools=[api(site)]).run("Add Rex.")
    assert paused.status == "paused"
    assert [seen.method for seen in site.seen] == ["GET"]
