"""The OpenAPI 3.1 document: descriptions of fields and shapes of responses."""

from __future__ import annotations

import http
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Response
from flask_smorest import Api, Blueprint
from webargs.flaskparser import FlaskParser

from models.data.schemas import Rows
from models.definition.features import FeaturesField
from models.errors import InvalidError, Problem, escaped
from models.features.features import FEATURES
from models.schemas import DescribedField, StrictSchema, Tagged, refusal_of, schema_for, shared
from service.web.json_bodies import read_json
from service.web.response_shapes import SHAPES

__all__ = ["Documentation", "Resource", "json_body", "partial_file", "refusals"]

View = TypeVar("View", bound=Callable[..., Any])


def refusals(*statuses: int) -> dict[str, str]:
    """The ``responses`` of a route's documentation for errors with these statuses."""
    return {str(status): http.HTTPStatus(status).name for status in statuses}


def partial_file(*kinds: str) -> dict[str, Any]:
    """The ``responses`` of a download whose request may have ``Range`` or ``If-None-Match``, by its content types."""
    binary = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {
        "206": {"description": "The part of the file that `Range` names.", "content": binary},
        "304": {"description": "The file is the one that `If-None-Match` names."},
        **refusals(416),
    }


def json_body(name: str) -> dict[str, Any]:
    """The documentation of a JSON request body of a named shape, for a route that parses its body itself."""
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


#: Statuses with which every route that takes a JSON body may refuse it.
_OF_JSON = (400, 413, 415, 422, 503)


#: Variables of paths as the examples of bodies name what they make. Ids exist only when something is made.
_IN_PATHS = {"key": "sample", "name": "sample", "version": "1", "alias": "best"}
#: How a caller sends its key (docs/keys.md).
_SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "ty_…"},
    "password": {"type": "http", "scheme": "basic", "description": "The key as the password, with any name."},
}


class _Parser(FlaskParser):
    """The webargs parser with strict JSON and problem+json errors. Refuses unknown query parameters."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.RAISE}  # noqa: RUF012

    def load_json(self, req: Any, schema: ma.Schema) -> Any:
        return read_json(req)

    def load_querystring(self, req: Any, schema: ma.Schema) -> Any:
        lists = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.List)}
        twice = [name for name, values in req.args.lists() if len(values) > 1 and name not in lists]
        if twice:
            raise InvalidError.of([Problem(f"/{escaped(name)}", "must be given once") for name in twice])
        return super().load_querystring(req, schema)

    def handle_error(self, error: ma.ValidationError, *_rest: Any, **_options: Any) -> Any:
        assert isinstance(error.messages, dict)
        (messages,) = error.messages.values()  # Keyed by location; each call loads a single one.
        raise refusal_of(messages) from None


def _short_default(field: Tagged) -> dict[str, str]:
    """The ``default`` of a field in its short form, which makers of clients understand; empty if it has none."""
    short = next((name for name in field.short_names if field.load_default == field.table[name]()), None)
    return {} if short is None else {"default": short}


class Resource(Blueprint):  # type: ignore[misc]
    """A blueprint that reads its arguments with ``_Parser``.

    ``shapes`` are named schemas of its own, which it adds to those that all share.
    """

    ARGUMENTS_PARSER = _Parser()

    def __init__(self, *names: Any, shapes: Mapping[str, dict[str, Any]] | None = None, **options: Any) -> None:
        super().__init__(*names, **options)
        self.shapes = shapes or {}

    # flask-smorest has no type hints. These methods declare that its decorators keep the type of the function.

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        shown = [
            {"in": "path", "name": name, "required": True, "example": _IN_PATHS[name]}
            for name in re.findall(r"<(?:\w+:)?(\w+)>", rule)
            if name in _IN_PATHS
        ]
        register = cast("Callable[[View], View]", super().route(rule, parameters=shown, **options))
        return lambda view: register(self.doc(operationId=view.__name__)(view))

    def arguments(self, schema: type[ma.Schema], **options: Any) -> Callable[[Any], Callable[..., Response]]:
        decorate = cast("Callable[[Any], Callable[..., Response]]", super().arguments(schema, **options))
        if options.get("location", "json") != "json":
            return decorate
        return lambda view: self.doc(responses=refusals(*_OF_JSON))(decorate(view))

    def response(self, status: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        return cast("Callable[[View], View]", super().response(status, schema, **options))

    def leads_to(self, status: int, links: Mapping[str, Any]) -> Callable[[View], View]:
        """Document the links of the answer with a status (``service.web.links``)."""
        return self.doc(responses={status: {"links": links}})

    @staticmethod
    def doc(**options: Any) -> Callable[[View], View]:
        return cast("Callable[[View], View]", Blueprint.doc(**options))


class _Converter(OpenAPIConverter):
    """The converter of schemas, which adds what holds between their fields."""

    def schema2jsonschema(self, schema: ma.Schema) -> dict[str, Any]:
        found: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        if not isinstance(schema, StrictSchema):
            return found
        return {**found, **schema.rules, **({"examples": [*schema.examples]} if schema.examples else {})}


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


class Documentation(Api):  # type: ignore[misc]
    """flask-smorest's API object, documenting errors as problem+json; ``errors.install`` handles them."""

    def _register_error_handlers(self) -> None:
        pass

    def _openapi_json(self) -> Response:
        """The document, which ends with a newline as every other JSON answer does."""
        answer: Response = super()._openapi_json()
        answer.set_data(answer.get_data() + b"\n")
        return answer

    def register_blueprint(self, blueprint: Resource, **options: Any) -> None:
        known = self.spec.components.schemas
        for name, schema in blueprint.shapes.items():
            if name not in known:
                self.spec.components.schema(name, schema)
        super().register_blueprint(blueprint, **options)

    def _register_responses(self) -> None:
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status in http.HTTPStatus:
            content = {"content": problem} if status >= 400 else {}
            self.spec.components.response(status.name, {"description": status.phrase, **content}, lazy=True)
        self.spec.components.response(
            "DEFAULT_ERROR", {"description": "Any other error.", "content": problem}, lazy=True
        )

    def init_app(self, app: Any, *, spec_kwargs: Any = None) -> None:
        plugin = _Plugin()
        super().init_app(app, spec_kwargs={**(spec_kwargs or {}), "marshmallow_plugin": plugin})
        assert plugin.converter is not None

        def describe_field(_converter: Any, field: ma.fields.Field[Any], **_options: Any) -> dict[str, Any]:
            return self._describe(field)

        plugin.converter.add_attribute_function(describe_field)  # type: ignore[no-untyped-call]
        for name, schema in SHAPES.items():
            self.spec.components.schema(name, schema)
        for name, scheme in _SECURITY.items():
            self.spec.components.security_scheme(name, scheme)

    def _describe(self, field: ma.fields.Field[Any]) -> dict[str, Any]:
        """The JSON schema of a field."""
        if isinstance(field, Tagged):
            names = {"type": "string", "enum": field.short_names, "description": "Short form, with every default."}
            schema = {"oneOf": [names, self._one_of(field.table)], **_short_default(field)}
        elif isinstance(field, Rows):
            whole = self.ma_plugin.converter.resolve_nested_schema(shared(field.schema))
            schema = {"oneOf": [*field.short_forms, whole]}
        elif isinstance(field, DescribedField):
            schema = field.json_schema()
            if isinstance(field, FeaturesField):
                self._one_of(FEATURES)  # The field refers to this component.
        else:
            return {}
        return {"anyOf": [schema, {"type": "null"}]} if field.allow_none else schema

    def _one_of(self, table: Mapping[str, type]) -> dict[str, Any]:
        """A reference to the union of a table's members; ``type`` names the member."""
        parent = next(iter(table.values())).__mro__[1].__name__
        known = self.spec.components.schemas
        if parent not in known:
            # Members of different tables may share a name, so a component's name includes its table's.
            components = {name: f"{name}_{parent.lower()}" for name in table}
            places = {name: f"#/components/schemas/{component}" for name, component in components.items()}
            union = {
                "oneOf": [{"$ref": place} for place in places.values()],
                "discriminator": {"propertyName": "type", "mapping": places},
            }
            self.spec.components.schema(parent, union)
            for name, member in table.items():
                schema = self.ma_plugin.converter.schema2jsonschema(shared(schema_for(member)))
                schema["description"] = (member.__doc__ or "").strip().partition("\n")[0]
                schema["properties"] = {"type": {"const": name}, **schema["properties"]}
                schema["required"] = ["type", *schema.get("required", [])]
                schema["additionalProperties"] = False
                self.spec.components.schema(components[name], schema)
        return {"$ref": f"#/components/schemas/{parent}"}
