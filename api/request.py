"""A request to the API: its body decoded once, its path's parameters by name, and who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from api.client_identity import ClientIdentity
from api.http.server import Request
from translate.errors import OpenAIError
from translate.request_body import decode_object


@dataclass(slots=True)
class ApiRequest:
    """A request, as the API's endpoints read it.

    ``http`` is the request on the wire. ``params`` are the parameters of its path, decoded. The fields of the body are
    shared by all who read them, so nobody changes them.
    """

    http: Request
    identity: ClientIdentity
    params: Mapping[str, str] = field(default_factory=dict)
    _fields: Mapping[str, Any] | OpenAIError | None = field(default=None, repr=False)

    @property
    def query(self) -> str:
        """The query of its target, as it was sent."""
        return self.http.query

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. ``name`` is in lower case."""
        return self.http.header(name)

    @property
    def has_body(self) -> bool:
        """Whether anything was sent as its body."""
        return self._fields is not None or bool(self.http.body)

    @property
    def json(self) -> Mapping[str, Any]:
        """The fields of the body, which is decoded once. Raises OpenAIError (400) unless it is a JSON object."""
        if self._fields is None:
            try:
                self._fields = decode_object(self.http.body)
            except OpenAIError as error:
                self._fields = error
        if isinstance(self._fields, OpenAIError):
            raise self._fields
        return self._fields

    def with_json(self, fields: Mapping[str, Any]) -> "ApiRequest":
        """Return the same request with other fields in its body."""
        return replace(self, _fields=fields)

    @property
    def model(self) -> str:
        """The model that the body names, "" if it names none. Whether the rest is sound is not looked at."""
        model = self._field("model")
        return model if isinstance(model, str) else ""

    @property
    def is_for_the_background(self) -> bool:
        """Whether it asks to be answered in the background. Whether the rest is sound is not looked at."""
        return self._field("background") is True

    def _field(self, name: str) -> Any:
        try:
            return self.json.get(name)
        except OpenAIError:
            return None
