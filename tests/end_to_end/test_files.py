"""Files as an unmodified client uploads, names and reads them."""

import base64
from typing import Any

import openai
import pytest

from rehearsal import Reply
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy

PDF = b"%PDF-1.4 a document"


def test_a_file_is_uploaded_named_and_deleted(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="A document."), Reply(text="The same."))

    with proxy.openai() as client:
        file = client.files.create(
            file=("a.pdf", PDF), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        said: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}]
        response = client.responses.create(model="gpt-4o", input=said)
        chat: Any = [{"role": "user", "content": [{"type": "file", "file": {"file_id": file.id}}]}]
        completion = client.chat.completions.create(model="gpt-4o", messages=chat)
        listed = [one.id for one in client.files.list(purpose="user_data", limit=1)]
        found, content = client.files.retrieve(file.id), client.files.content(file.id).read()
        deleted = client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)

    assert (response.output_text, completion.choices[0].message.content) == ("A document.", "The same.")
    for turn in cloud.turns:
        (block,) = [block for block in turn.body["messages"][0]["content"] if block["type"] == "document"]
        assert base64.b64decode(block["source"]["data"]) == PDF
    assert file.id in listed
    assert found == file and content == PDF
    assert file.expires_at == file.created_at + 3600
    assert deleted.deleted


def test_a_large_file_is_uploaded_in_parts_by_the_clients_own_helper(proxy: Proxy) -> None:
    data = bytes(range(256)) * 12_000

    with proxy.openai() as client:
        upload = client.uploads.upload_file_chunked(
            file=data, filename="a.bin", bytes=len(data), mime_type="text/plain", purpose="user_data", part_size=2**20
        )
        assert upload.file is not None
        content = client.files.content(upload.file.id).read()
        client.files.delete(upload.file.id)

    assert upload.status == "completed"
    assert content == data
