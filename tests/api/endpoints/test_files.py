"""Files over HTTP: uploaded whole and in parts, listed, read, deleted, by their owners alone."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.endpoints import files as module
from storage import uploads
from storage.database import Database
from storage.files import Quota
from storage.stores import Stores
from tests.api.scripted import Scripted, client
from tests.openai_document import problems

pytestmark = pytest.mark.anyio

ANN, BOB = {"authorization": "Bearer ann"}, {"authorization": "Bearer bob"}


async def upload(
    http: httpx.AsyncClient, name: str = "a.txt", data: bytes = b"abc", purpose: str = "user_data", **more: Any
) -> httpx.Response:
    return await http.post("/v1/files", files={"file": (name, data)}, data={"purpose": purpose, **more}, headers=ANN)


async def test_a_file_is_made_listed_read_and_deleted() -> None:
    async with client(Scripted()) as http:
        made = await upload(http, "../étoile.txt", b"\0\xff\r\n")
        file = made.json()
        path = f"/v1/files/{file['id']}"
        found = await http.get(path, headers=ANN)
        content = await http.get(f"{path}/content", headers=ANN)
        listed = await http.get("/v1/files", headers=ANN)
        gone = await http.delete(path, headers=ANN)
        after = await http.get(path, headers=ANN)

    assert made.status_code == 200
    assert found.json() == file
    assert {name: file[name] for name in ("object", "bytes", "filename", "purpose", "status")} == {
        "object": "file",
        "bytes": 4,
        "filename": "étoile.txt",
        "purpose": "user_data",
        "status": "processed",
    }
    assert "expires_at" not in file
    assert (content.content, content.headers["content-type"]) == (b"\0\xff\r\n", "application/octet-stream")
    assert content.headers["content-length"] == "4"
    assert listed.json() == {
        "object": "list",
        "data": [file],
        "has_more": False,
        "first_id": file["id"],
        "last_id": file["id"],
    }
    assert gone.json() == {"id": file["id"], "object": "file", "deleted": True}
    assert (after.status_code, after.json()["error"]["code"]) == (404, "file_not_found")
    assert problems("OpenAIFile", file) == []
    assert problems("ListFilesResponse", listed.json()) == []
    assert problems("DeleteFileResponse", gone.json()) == []


async def test_a_file_is_its_owners_alone() -> None:
    async with client(Scripted()) as http:
        id = (await upload(http)).json()["id"]
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            answer = await http.request(method, f"/v1/files/{id}{path}", headers=BOB)
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"No such File object: {id}")
        assert (await http.get("/v1/files", headers=BOB)).json()["data"] == []
        assert (await http.get("/v1/files", params={"after": id}, headers=BOB)).status_code == 400
        assert (await http.get(f"/v1/files/{id}", headers=ANN)).status_code == 200


async def test_lists_have_pages_orders_and_purposes() -> None:
    async with client(Scripted()) as http:
        for name, purpose in (("a", "batch"), ("b", "user_data"), ("c", "batch")):
            await upload(http, name, purpose=purpose)

        async def names(**wish: Any) -> str:
            page = (await http.get("/v1/files", params=wish, headers=ANN)).json()
            return "".join(str(one["filename"]) for one in page["data"]) + "+" * int(page["has_more"])

        assert await names() == "cba"
        assert await names(order="asc", limit=2) == "ab+"
        assert await names(purpose="batch", limit=10_000) == "ca"
        assert (await http.get("/v1/files?limit=10001", headers=ANN)).json()["error"]["param"] == "limit"


async def test_when_a_file_expires_is_told() -> None:
    policy: Any = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    async with client(Scripted()) as http:
        soon = (await upload(http, **policy)).json()
        batch = (await upload(http, purpose="batch")).json()

    assert soon["expires_at"] - soon["created_at"] == 3600
    assert batch["expires_at"] - batch["created_at"] == 30 * 86_400


@pytest.mark.parametrize(
    ("files", "data", "param"),
    [
        ({}, {"purpose": "batch"}, "file"),
        ({"file": ("a", b"x")}, {}, "purpose"),
        ({"file": ("a", b"x")}, {"purpose": "nonsense"}, "purpose"),
        ({"file": ("/", b"x")}, {"purpose": "batch"}, "file"),
        ({"file": (None, b"x")}, {"purpose": "batch"}, "file"),
        ({"file": ("a", b"x", "text/" + "x" * 251)}, {"purpose": "batch"}, "file"),
        ({"file": ("a", b"x")}, {"purpose": "batch", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        *(
            (
                {"file": ("a", b"x")},
                {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": seconds},
                "expires_after.seconds",
            )
            for seconds in ("3599", "2592001", "soon")
        ),
    ],
)
async def test_bad_input_is_refused_by_its_name(files: Any, data: dict[str, str], param: str) -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/files", files={"x": ("x", b""), **files}, data=data)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_fields_of_a_form_that_have_no_effect_are_named() -> None:
    async with client(Scripted()) as http:
        answer = await http.post(
            "/v1/files", files={"file": ("a", b"x")}, data={"purpose": "batch", "a b": "", "c": ""}
        )

    assert (answer.status_code, answer.headers["x-understudy-ignored"]) == (200, '["a b"], c')


async def test_what_is_no_form_is_refused() -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/files", json={"purpose": "batch"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_content_type")


async def test_beyond_the_quota_a_file_is_refused(tmp_path: Path) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database, quota=Quota(owner_bytes=4)) as stores, client(Scripted(), stores=stores) as http:
            assert (await upload(http, data=b"123")).status_code == 200
            answer = await upload(http, data=b"12")

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "storage_limit_exceeded")


async def test_a_file_that_is_deleted_while_it_is_read_breaks_off(tmp_path: Path) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(Scripted(), stores=stores) as http:
            made = (await upload(http)).json()
            real = stores.files.pieces

            async def first(id: str) -> Any:
                async for piece in real(id):
                    yield piece[:1]

            stores.files.pieces = first  # type: ignore[method-assign]
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(f"/v1/files/{made['id']}/content", headers=ANN)


# Uploads


async def begin(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    fields = {"filename": "a.bin", "purpose": "batch", "bytes": 6, "mime_type": "text/plain", **more}
    answer = await http.post("/v1/uploads", json=fields, headers=ANN)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def add(http: httpx.AsyncClient, upload: dict[str, Any], data: bytes, headers: Any = None) -> httpx.Response:
    path = f"/v1/uploads/{upload['id']}/parts"
    return await http.post(path, files={"data": ("blob", data)}, headers=headers or ANN)


async def test_a_file_comes_in_parts() -> None:
    async with client(Scripted()) as http:
        made = await begin(http, expires_after={"anchor": "created_at", "seconds": 3600})
        two, one = [(await add(http, made, data)).json() for data in (b"def", b"abc")]
        checksum = hashlib.md5(b"abcdef", usedforsecurity=False).hexdigest()
        done = await http.post(
            f"/v1/uploads/{made['id']}/complete",
            json={"part_ids": [one["id"], two["id"]], "md5": checksum},
            headers=ANN,
        )
        file = done.json()["file"]
        content = await http.get(f"/v1/files/{file['id']}/content", headers=ANN)

    assert content.content == b"abcdef"
    assert (made["status"], done.json()["status"], file["filename"]) == ("pending", "completed", "a.bin")
    assert file["expires_at"] - file["created_at"] == 3600
    assert problems("Upload", made) == problems("Upload", done.json()) == problems("UploadPart", one) == []


async def test_an_upload_is_its_owners_alone_and_can_be_cancelled() -> None:
    async with client(Scripted()) as http:
        made = await begin(http)
        part = (await add(http, made, b"abcdef")).json()
        path = f"/v1/uploads/{made['id']}"
        theirs = [
            await add(http, made, b"x", BOB),
            await http.post(f"{path}/complete", json={"part_ids": [part["id"]]}, headers=BOB),
            await http.post(f"{path}/cancel", headers=BOB),
        ]
        cancelled = await http.post(f"{path}/cancel", headers=ANN)
        again = await http.post(f"{path}/cancel", headers=ANN)

    assert [one.status_code for one in theirs] == [404, 404, 404]
    assert cancelled.json() == {**made, "status": "cancelled"}
    assert (again.status_code, again.json()["error"]["code"]) == (404, "upload_not_found")


async def test_an_owner_has_so_many_open_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_OPEN", 2)
    fields = {"filename": "a.bin", "purpose": "batch", "bytes": 6, "mime_type": "x" * 255}
    async with client(Scripted()) as http:
        made = [await begin(http, **fields) for _ in range(2)]
        refused = await http.post("/v1/uploads", json=fields, headers=ANN)
        others = await http.post("/v1/uploads", json=fields, headers=BOB)
        await http.post(f"/v1/uploads/{made[0]['id']}/cancel", headers=ANN)
        await begin(http)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert others.status_code == 200


async def test_a_part_of_an_upload_that_is_cancelled_meanwhile_gets_404(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(Scripted(), stores=stores) as http:
            made = await begin(http)
            real = stores.files.write

            async def after_the_end(*given: Any) -> int:
                await http.post(f"/v1/uploads/{made['id']}/cancel", headers=ANN)
                return await real(*given)

            monkeypatch.setattr(stores.files, "write", after_the_end)
            answer = await add(http, made, b"abc")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "upload_not_found")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": "6"}, "bytes"),
        ({"bytes": None}, "bytes"),
        ({"bytes": module.MAX_FILE_BYTES + 1}, "bytes"),
        ({"filename": 5}, "filename"),
        ({"filename": None}, "filename"),
        ({"mime_type": None}, "mime_type"),
        ({"mime_type": "x" * 256}, "mime_type"),
        ({"purpose": "nonsense"}, "purpose"),
        ({"expires_after": 5}, "expires_after"),
        ({"expires_after": {"days": 5}}, "expires_after.days"),
        ({"odd": 1}, "odd"),
    ],
)
async def test_a_bad_upload_is_refused_by_its_name(wrong: dict[str, Any], param: str) -> None:
    fields = {"filename": "a.bin", "purpose": "batch", "bytes": 6, "mime_type": "text/plain", **wrong}
    async with client(Scripted()) as http:
        answer = await http.post("/v1/uploads", json=fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_parts_that_do_not_fit_are_refused() -> None:
    async with client(Scripted()) as http:
        made = await begin(http)
        part = (await add(http, made, b"abc")).json()
        path = f"/v1/uploads/{made['id']}"
        refused = [
            await add(http, made, b"defg"),
            await http.post(f"{path}/parts", files={"other": ("x", b"x")}, headers=ANN),
            await http.post(f"{path}/complete", json={"part_ids": [part["id"]]}, headers=ANN),
            await http.post(f"{path}/complete", json={"part_ids": "x"}, headers=ANN),
            await http.post(f"{path}/complete", json={}, headers=ANN),
            await http.post(f"{path}/complete", json={"part_ids": [part["id"]], "md5": 5}, headers=ANN),
        ]

    assert [one.status_code for one in refused] == [400] * 6
    assert [one.json()["error"]["param"] for one in refused] == [
        *("data", "data", "part_ids", "part_ids", "part_ids", "md5")
    ]
