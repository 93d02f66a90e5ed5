"""A request to the API: its decoded body, its path parameters by name, and its client."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from api.client_identity import ClientIdentity
from api.http.server import Request
from engine.aside import aside
from translate.errors import OpenAIError
from translate.long_work import weight
from translate.request_body import decode_object


@dataclass(slots=True)
class ApiRequest:
    """A request, as the API's endpoints read it.

    ``http`` is the HTTP request. ``params`` are the decoded parameters of its path. Callers share the fields of the
    body and must not change them.
    """

    http: Request
    identity: ClientIdentity
    params: Mapping[str, str] = field(default_factory=dict)
    _fields: Mapping[str, Any] | OpenAIError | None = field(default=None, repr=False)

    @property
    def query(self) -> str:
        """The query string, still percent-encoded."""
        return self.http.query

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. ``name`` is in lower case."""
        return self.http.header(name)

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self._fields is not None or bool(self.http.body)

    @property
    def json(self) -> Mapping[str, Any]:
        """The fields of the body. It is decoded only once. Raises OpenAIError (400) if it is not a JSON object."""
        if self._fields is None:
            self._fields = _decoded(self.http.body)
        if isinstance(self._fields, OpenAIError):
            raise self._fields
        return self._fields

    async def decode(self) -> None:
        """Decode the body, a large one in a thread. An error is raised when :attr:`json` is read."""
        if self._fields is None and self.http.body:
            self._fields = await aside(len(self.http.body), _decoded, self.http.body)

    @property
    def weight(self) -> int:
        """The approximate size of the fields of the body in bytes. Raises OpenAIError (400) as :attr:`json` does."""
        return weight(self.json)

    def with_json(self, fields: Mapping[str, Any]) -> "ApiRequest":
        """Return the same request with other fields in its body."""
        return replace(self, _fields=fields)

    @property
    def model(self) -> str:
        """The model in the body; "" if there is none. The rest of the body is not checked."""
        model = self._field("model")
        return model if isinstance(model, str) else ""

    @property
    def is_for_the_background(self) -> bool:
        """Whether the body has ``background: true``. The rest of the body is not checked."""
        return self._field("background") is True

    def _field(self, name: str) -> Any:
        try:
            return self.json.get(name)
        except OpenAIError:
            return None


def _decoded(body: bytes) -> Mapping[str, Any] | OpenAIError:
    try:
        return decode_object(body)
    except OpenAIError as error:
        return error
