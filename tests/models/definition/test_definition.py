"""Definitions: valid documents, canonical documents, and the place of each fault."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from models.definition.definition import ModelDefinition, complete
from models.errors import InvalidError
from nncore.initializers import INITIALIZERS
from nncore.layers import Dense, ReLU, Softmax
from nncore.optimizers import SGD, Adam, AdamW
from nncore.schedules import Cosine, Piecewise
from testing.strategies import definitions

#: The fields that every optimizer has, with their defaults.
COMMON: dict[str, Any] = {
    "decay": 0.0,
    "schedule": {"type": "constant", "warmup": 0.0, "warmup_from": 0.01},
    "clip_norm": None,
    "clip_value": None,
    "average": None,
    "accumulate": 1,
}
SPIRAL: dict[str, Any] = {
    "name": "spiral",
    "inputs": 2,
    "classes": ["red", "green", "blue"],
    "layers": [{"type": "dense", "units": 64}, {"type": "relu"}, {"type": "dense", "units": 3}, {"type": "softmax"}],
}
DENSE: dict[str, Any] = {
    "type": "dense",
    "initializer": "he_normal",
    "initializer_value": 0.0,
    "use_bias": True,
    "l1": 0.0,
    "l2": 0.0,
    "max_norm": None,
    "rate": 1.0,
}
CANONICAL: dict[str, Any] = {
    **SPIRAL,
    "layers": [
        {**DENSE, "units": 64},
        {"type": "relu"},
        {**DENSE, "initializer": "glorot_uniform", "units": 3},
        {"type": "softmax"},
    ],
    "optimizer": {
        "type": "adam",
        "learning_rate": 0.001,
        **COMMON,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-7,
        "epsilon_mode": "inside_sqrt",
        "amsgrad": False,
    },
    "loss": {"type": "categorical_crossentropy", "label_smoothing": 0.0},
    "class_weights": None,
    "dtype": "float32",
    "metadata": {},
}


def changed(**members: Any) -> dict[str, Any]:
    return {**SPIRAL, **members}


def with_layer(place: int, **members: Any) -> dict[str, Any]:
    layers = [dict(layer) for layer in SPIRAL["layers"]]
    layers[place] = {**layers[place], **members}
    return changed(layers=layers)


def with_schedule(schedule: Any) -> dict[str, Any]:
    return changed(optimizer={"type": "sgd", "schedule": schedule})


def without(member: str) -> dict[str, Any]:
    return {name: value for name, value in SPIRAL.items() if name != member}


def faults_of(document: Any, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as refusal:
        ModelDefinition.load(document, **options)
    assert refusal.value.code == "validation_failed"
    return [(problem.pointer, problem.detail) for problem in refusal.value.problems]


def test_the_canonical_document_has_every_default_filled_in() -> None:
    assert ModelDefinition.load(SPIRAL).document() == CANONICAL


def test_defaults_of_the_optimizers_are_those_of_the_design() -> None:
    sgd = ModelDefinition.load(changed(optimizer={"type": "sgd"})).document()["optimizer"]
    assert sgd == {"type": "sgd", "learning_rate": 1.0, **COMMON, "momentum": 0.0, "nesterov": False}
    rmsprop = ModelDefinition.load(changed(optimizer={"type": "rmsprop"})).document()["optimizer"]
    assert rmsprop == {
        "type": "rmsprop",
        "learning_rate": 0.001,
        **COMMON,
        "rho": 0.9,
        "momentum": 0.0,
        "centered": False,
        "epsilon": 1e-7,
        "epsilon_mode": "inside_sqrt",
    }


def test_loading_gives_the_rules_themselves() -> None:
    definition = ModelDefinition.load(changed(optimizer={"type": "sgd", "learning_rate": 1, "momentum": 0.5}))
    assert definition.layers == (Dense(64), ReLU(), Dense(3, "glorot_uniform"), Softmax())
    assert definition.optimizer == SGD(learning_rate=1.0, momentum=0.5)
    assert definition.classes == ("red", "green", "blue")
    assert definition.parameter_count == 2 * 64 + 64 + 64 * 3 + 3


@given(definitions())
def test_a_document_loads_to_the_definition_that_wrote_it(document: dict[str, Any]) -> None:
    definition = ModelDefinition.load(document)
    written = definition.document()
    assert ModelDefinition.load(written) == definition
    assert ModelDefinition.load(written).document() == written
    through_json = ModelDefinition.load(json.loads(definition.canonical()))
    assert through_json == definition
    assert through_json.canonical() == definition.canonical()


@given(definitions())
def test_what_was_asked_for_stands_in_the_document(document: dict[str, Any]) -> None:
    written = ModelDefinition.load(document).document()
    count = document["classes"]
    assert written["classes"] == (list(range(count)) if isinstance(count, int) else count)
    for name in document.keys() - {"classes", "layers", "optimizer"}:
        assert written[name] == document[name]
    for asked, shown in zip(document["layers"], written["layers"], strict=True):
        assert holds(shown, asked)
    assert holds(written["optimizer"], document.get("optimizer", {}))


def holds(shown: Any, asked: Any) -> bool:
    """Whether a document has all members of another one, at every depth."""
    if not isinstance(asked, dict):
        return bool(shown == asked)
    return all(name in shown and holds(shown[name], value) for name, value in asked.items())


def test_an_optimizer_and_its_schedule_are_loaded_and_written() -> None:
    schedule = {"type": "piecewise", "boundaries": [10, 20.5], "factors": [0.5, 0.1], "warmup": 2}
    optimizer = {"type": "adamw", "weight_decay": 0.1, "clip_norm": 1, "average": 0.99, "schedule": schedule}
    definition = ModelDefinition.load(changed(optimizer=optimizer))
    assert definition.optimizer == AdamW(
        weight_decay=0.1,
        clip_norm=1.0,
        average=0.99,
        schedule=Piecewise((10.0, 20.5), (0.5, 0.1), warmup=2.0),
    )
    written = json.loads(definition.canonical())["optimizer"]
    assert written == {
        "type": "adamw",
        "learning_rate": 0.001,
        **COMMON,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-7,
        "epsilon_mode": "inside_sqrt",
        "amsgrad": False,
        "weight_decay": 0.1,
        "decay_biases": True,
        "clip_norm": 1.0,
        "average": 0.99,
        "schedule": {**schedule, "warmup_from": 0.01},
    }


@given(definitions())
def test_parameters_are_counted_as_the_layers_have_them(document: dict[str, Any]) -> None:
    size, count = document["inputs"], 0
    for layer in document["layers"]:
        if layer["type"] == "dense":
            count += size * layer["units"] + layer["units"] * layer.get("use_bias", True)
            size = layer["units"]
        elif layer["type"] in ("batch_norm", "layer_norm"):
            count += 2 * size
    assert ModelDefinition.load(document).parameter_count == count


def test_a_count_of_classes_means_the_labels_from_0() -> None:
    assert ModelDefinition.load(changed(classes=3)).classes == (0, 1, 2)
    assert ModelDefinition.load(changed(classes=3)) == ModelDefinition.load(changed(classes=[0, 1, 2]))


def test_hidden_stands_for_dense_layers_and_activations() -> None:
    short = ModelDefinition.load({**without("layers"), "hidden": [64, 32]})
    assert short.layers == (Dense(64), ReLU(), Dense(32), ReLU(), Dense(3, "glorot_uniform"), Softmax())
    assert ModelDefinition.load({**without("layers"), "hidden": [64, 32], "activation": "relu"}) == short
    assert ModelDefinition.load({**without("layers"), "hidden": []}).layers == (Dense(3, "glorot_uniform"), Softmax())
    one = ModelDefinition.load({**without("layers"), "hidden": 64})
    assert one == ModelDefinition.load({**without("layers"), "hidden": [64]})


def test_a_definition_without_a_network_has_the_default_one() -> None:
    definition = ModelDefinition.load(without("layers"))
    assert definition.layers == (Dense(128, l2=0.01), ReLU(), Dense(3, "glorot_uniform"), Softmax())
    assert definition.optimizer == Adam(learning_rate=0.003, schedule=Cosine())
    assert [definition.for_rows(rows).layers[0] for rows in (4, 900, 90_000)] == [
        Dense(128, l2=0.03),
        Dense(128, l2=0.01),
        Dense(128, l2=0.001),
    ]
    own = ModelDefinition.load({**without("layers"), "optimizer": "adam"})
    assert (own.layers, own.optimizer) == (definition.layers, Adam())
    # The optimizer of a network that is given is what it was.
    assert ModelDefinition.load({**without("layers"), "hidden": []}).optimizer == Adam()


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_an_initializer_before_the_softmax_that_is_given_stays(initializer: str) -> None:
    """All documents that a release has written name it."""
    assert ModelDefinition.load(with_layer(2, initializer=initializer)).layers[2] == Dense(3, initializer)
    canonical = ModelDefinition.load(with_layer(2, initializer=initializer)).canonical()
    assert ModelDefinition.parse(canonical).layers[2] == Dense(3, initializer)


def test_names_stand_for_rules_with_all_defaults() -> None:
    layers = [{"type": "dense", "units": 64}, "relu", {"type": "dense", "units": 3}, "softmax"]
    short = changed(layers=layers, optimizer="adam", loss="focal")
    long = changed(optimizer={"type": "adam"}, loss={"type": "focal"})
    assert ModelDefinition.load(short) == ModelDefinition.load(long)
    assert ModelDefinition.load(with_schedule("cosine")) == ModelDefinition.load(with_schedule({"type": "cosine"}))


def test_equal_definitions_have_equal_text() -> None:
    again = {name: SPIRAL[name] for name in reversed(SPIRAL)}
    shorthand = {**without("layers"), "hidden": [64], "optimizer": {"type": "adam", "beta1": 0.9}}
    texts = {ModelDefinition.load(document).canonical() for document in (SPIRAL, CANONICAL, again, shorthand)}
    assert len(texts) == 1


def test_fields_of_a_definition_make_it_another_one() -> None:
    base = ModelDefinition.load(SPIRAL).canonical()
    others = [
        changed(name="other"),
        changed(inputs=3),
        changed(classes=["green", "red", "blue"]),
        changed(classes=3),
        changed(dtype="float64"),
        changed(metadata={"a": 1}),
        changed(optimizer={"type": "adam", "learning_rate": 0.01}),
        with_layer(0, l2=0.1),
        with_layer(0, initializer="zeros"),
    ]
    assert base not in {ModelDefinition.load(document).canonical() for document in others}


#: Documents with one fault each, and the pointer that the error must have.
FAULTS: dict[str, tuple[Any, str]] = {
    "not an object": ([], ""),
    "null": (None, ""),
    "unknown field": (changed(lares=[]), "/lares"),
    "unknown field with a slash": (changed(**{"a/b~c": 1}), "/a~1b~0c"),
    "class weights of another class": (changed(class_weights={"pink": 2.0}), "/class_weights"),
    "class weights below 0": (changed(class_weights=[1, -1, 1]), "/class_weights/1"),
    "too few class weights": (changed(class_weights=[1]), "/class_weights"),
    "no name": (without("name"), "/name"),
    "empty name": (changed(name=""), "/name"),
    "capital in name": (changed(name="Spiral"), "/name"),
    "newline after name": (changed(name="spiral\n"), "/name"),
    "name of 64": (changed(name="a" * 64), "/name"),
    "name begins with a dot": (changed(name=".a"), "/name"),
    "name is a number": (changed(name=1), "/name"),
    "inputs zero": (changed(inputs=0), "/inputs"),
    "inputs negative": (changed(inputs=-2), "/inputs"),
    "inputs huge": (changed(inputs=10**30), "/inputs"),
    "inputs too many": (changed(inputs=1_000_001), "/inputs"),
    "inputs a string": (changed(inputs="2"), "/inputs"),
    "inputs a boolean": (changed(inputs=True), "/inputs"),
    "inputs a fraction": (changed(inputs=2.0), "/inputs"),
    "inputs null": (changed(inputs=None), "/inputs"),
    "no classes": (without("classes"), "/classes"),
    "one class": (changed(classes=1), "/classes"),
    "one label": (changed(classes=["red"]), "/classes"),
    "classes true": (changed(classes=True), "/classes"),
    "classes huge": (changed(classes=10**9), "/classes"),
    "classes a string": (changed(classes="red"), "/classes"),
    "class repeated": (changed(classes=["red", "green", "red"]), "/classes/2"),
    "class a boolean among numbers": (changed(classes=[0, True, 2]), "/classes/1"),
    "class a number among booleans": (changed(classes=[True, False, 2]), "/classes/2"),
    "classes of two kinds": (changed(classes=["red", 1, 2]), "/classes/1"),
    "class a fraction": (changed(classes=[0, 1, 2.5]), "/classes/2"),
    "class null": (changed(classes=["a", None, "b"]), "/classes/1"),
    "activation alone": ({**without("layers"), "activation": "relu"}, "/activation"),
    "layers and hidden": (changed(hidden=[4]), "/layers"),
    "layers not a list": (changed(layers={}), "/layers"),
    "layers empty": (changed(layers=[]), "/layers"),
    "too many layers": (changed(layers=[{"type": "relu"}] * 300 + SPIRAL["layers"]), "/layers"),
    "layer not an object": (changed(layers=[3, *SPIRAL["layers"]]), "/layers/0"),
    "layer without type": (changed(layers=[{"units": 3}, *SPIRAL["layers"]]), "/layers/0/type"),
    "unknown layer": (with_layer(1, type="conv2d"), "/layers/1/type"),
    "layer type a list": (with_layer(1, type=["relu"]), "/layers/1/type"),
    "dense without units": (changed(layers=[{"type": "dense"}, *SPIRAL["layers"]]), "/layers/0/units"),
    "units zero": (with_layer(0, units=0), "/layers/0/units"),
    "units negative": (with_layer(0, units=-64), "/layers/0/units"),
    "units huge": (with_layer(0, units=2**64), "/layers/0/units"),
    "units a string": (with_layer(0, units="64"), "/layers/0/units"),
    "units a boolean": (with_layer(0, units=True), "/layers/0/units"),
    "units null": (with_layer(0, units=None), "/layers/0/units"),
    "unknown field in a layer": (with_layer(0, unit=3), "/layers/0/unit"),
    "field of another layer": (with_layer(1, units=3), "/layers/1/units"),
    "no softmax": (changed(layers=SPIRAL["layers"][:3]), "/layers/2/type"),
    "no dense before softmax": (
        changed(layers=[*SPIRAL["layers"][:3], {"type": "relu"}, {"type": "softmax"}]),
        "/layers/3/type",
    ),
    "softmax alone": (changed(layers=[{"type": "softmax"}]), "/layers/0/type"),
    "units other than classes": (with_layer(2, units=4), "/layers/2/units"),
    "hidden zero": ({**without("layers"), "hidden": [64, 0]}, "/hidden/1"),
    "hidden a word": ({**without("layers"), "hidden": "64"}, "/hidden"),
    "hidden 0": ({**without("layers"), "hidden": 0}, "/hidden"),
    "hidden half a unit": ({**without("layers"), "hidden": [4, 0.5]}, "/hidden/1"),
    "a layer by name that needs units": (changed(layers=["dense", *SPIRAL["layers"]]), "/layers/0"),
    "an unknown layer by name": (changed(layers=["conv2d", *SPIRAL["layers"]]), "/layers/0"),
    "the last layer by name": (changed(layers=["tanh"]), "/layers/0"),
    "the layer before the last by name": (changed(layers=["relu", "softmax"]), "/layers/0"),
    "activation with layers": (changed(activation="relu"), "/activation"),
    "activation unknown": ({**without("layers"), "hidden": [4], "activation": "maxout"}, "/activation"),
    "activation with parameters": ({**without("layers"), "hidden": [4], "activation": "dense"}, "/activation"),
    "optimizer an unknown name": (changed(optimizer="adamx"), "/optimizer"),
    "optimizer a number": (changed(optimizer=1), "/optimizer"),
    "optimizer unknown": (changed(optimizer={"type": "adamx"}), "/optimizer/type"),
    "optimizer without type": (changed(optimizer={"learning_rate": 1.0}), "/optimizer/type"),
    "optimizer null": (changed(optimizer=None), "/optimizer"),
    "unknown field in the optimizer": (changed(optimizer={"type": "adam", "lr": 1}), "/optimizer/lr"),
    "learning rate zero": (changed(optimizer={"type": "adam", "learning_rate": 0}), "/optimizer/learning_rate"),
    "learning rate text": (changed(optimizer={"type": "sgd", "learning_rate": "1"}), "/optimizer/learning_rate"),
    "learning rate NaN": (changed(optimizer={"type": "sgd", "learning_rate": math.nan}), "/optimizer/learning_rate"),
    "schedule null": (with_schedule(None), "/optimizer/schedule"),
    "schedule an unknown name": (with_schedule("cosines"), "/optimizer/schedule"),
    "schedule by name that needs more": (with_schedule("exponential"), "/optimizer/schedule"),
    "schedule unknown": (with_schedule({"type": "adam"}), "/optimizer/schedule/type"),
    "schedule without type": (with_schedule({"gamma": 0.5}), "/optimizer/schedule/type"),
    "gamma missing": (with_schedule({"type": "exponential"}), "/optimizer/schedule/gamma"),
    "gamma zero": (with_schedule({"type": "exponential", "gamma": 0}), "/optimizer/schedule/gamma"),
    "unknown field in the schedule": (with_schedule({"type": "constant", "rate": 1}), "/optimizer/schedule/rate"),
    "boundaries a number": (
        with_schedule({"type": "piecewise", "boundaries": 1, "factors": [1]}),
        "/optimizer/schedule/boundaries",
    ),
    "boundary negative": (
        with_schedule({"type": "piecewise", "boundaries": [1, -2], "factors": [1, 1]}),
        "/optimizer/schedule/boundaries/1",
    ),
    "boundaries descend": (
        with_schedule({"type": "piecewise", "boundaries": [2, 1], "factors": [1, 1]}),
        "/optimizer/schedule/boundaries",
    ),
    "factors too few": (
        with_schedule({"type": "piecewise", "boundaries": [1, 2], "factors": [1]}),
        "/optimizer/schedule/factors",
    ),
    "clip_norm zero": (changed(optimizer={"type": "sgd", "clip_norm": 0}), "/optimizer/clip_norm"),
    "average one": (changed(optimizer={"type": "sgd", "average": 1}), "/optimizer/average"),
    "beta1 one": (changed(optimizer={"type": "adam", "beta1": 1.0}), "/optimizer/beta1"),
    "dtype unknown": (changed(dtype="float16"), "/dtype"),
    "dtype a list": (changed(dtype=["float32"]), "/dtype"),
    "metadata a list": (changed(metadata=[]), "/metadata"),
    "metadata large": (changed(metadata={"a": "x" * 20_000}), "/metadata"),
    "metadata deep": (changed(metadata=json.loads('{"a":' * 40 + "1" + "}" * 40)), "/metadata"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_at_its_place(fault: str) -> None:
    document, pointer = FAULTS[fault]
    faults = faults_of(document)
    assert [place for place, _ in faults] == [pointer]
    assert all(detail and "Traceback" not in detail for _, detail in faults)


def test_every_fault_is_reported_at_once() -> None:
    document = changed(
        name="BAD", inputs=0, layers=[{"type": "dense", "units": 0}, {"type": "nothing"}], optimizer={"type": "x"}
    )
    places = {place for place, _ in faults_of(document)}
    assert places == {"/name", "/inputs", "/layers/0/units", "/layers/1/type", "/optimizer/type"}


def test_a_fault_says_what_was_received_and_what_would_do() -> None:
    assert faults_of(with_layer(0, units=0)) == [("/layers/0/units", "must be at least 1. Received: 0")]
    assert faults_of(with_layer(0, units="64")) == [("/layers/0/units", "must be a whole number. Received: '64'")]
    (fault,) = faults_of(with_layer(1, type="conv2d"))
    assert all(word in fault[1] for word in ("'dense'", "'relu'", "'softmax'", "'conv2d'"))
    assert faults_of(changed(optimizer="adan"))[0][1].endswith("Received: 'adan'; did you mean 'adam'?")
    assert faults_of(changed(layers=["dense", "softmax"]))[0][1].startswith('must be an object, {"type": "dense", "un')


def test_parameters_are_bounded() -> None:
    count = ModelDefinition.load(SPIRAL).parameter_count
    assert ModelDefinition.load(SPIRAL, count).parameter_count == count
    ((pointer, detail),) = faults_of(SPIRAL, maximum_parameters=count - 1)
    assert pointer == "/layers"
    assert str(count) in detail


def test_a_network_is_made_from_the_seed() -> None:
    definition = ModelDefinition.load(changed(dtype="float64"))
    network = definition.network(7)
    assert (network.inputs, network.classes, network.dtype) == (2, 3, "float64")
    assert (network.parameters.vector == definition.network(7).parameters.vector).all()
    assert (network.parameters.vector != definition.network(8).parameters.vector).any()
    assert definition.optimizer == Adam()


class TestComplete:
    """Members that a definition may leave out because the data decides them."""

    def test_inputs_classes_and_the_last_units_come_from_the_data(self) -> None:
        document = {"name": "iris", "layers": [{"type": "dense", "units": 8}, {"type": "dense"}, {"type": "softmax"}]}
        definition = ModelDefinition.load(complete(document, 4, ["a", "b", "c"]))
        assert (definition.inputs, definition.classes) == (4, ("a", "b", "c"))
        assert definition.layers == (Dense(8), Dense(3, "glorot_uniform"), Softmax())

    def test_what_is_given_stays(self) -> None:
        document = {"name": "iris", "inputs": 9, "classes": 2, "hidden": [4]}
        definition = ModelDefinition.load(complete(document, 4, ["a", "b", "c"]))
        assert (definition.inputs, definition.classes) == (9, (0, 1))

    def test_units_follow_a_given_count_of_classes(self) -> None:
        document = {"name": "iris", "classes": 5, "layers": [{"type": "dense"}, {"type": "softmax"}]}
        assert ModelDefinition.load(complete(document, 4, ["a", "b"])).layers[0] == Dense(5, "glorot_uniform")
        document["layers"] = ["dense", "softmax"]
        assert ModelDefinition.load(complete(document, 4, ["a", "b"])).layers[0] == Dense(5, "glorot_uniform")

    def test_only_the_last_dense_layer_may_leave_its_units_out(self) -> None:
        document = {"name": "iris", "layers": [{"type": "dense"}, {"type": "dense"}, {"type": "softmax"}]}
        with pytest.raises(InvalidError) as refusal:
            ModelDefinition.load(complete(document, 4, [0, 1]))
        assert [problem.pointer for problem in refusal.value.problems] == ["/layers/0/units"]

    def test_the_given_document_is_left_as_it_is(self) -> None:
        document = {"name": "iris", "layers": [{"type": "dense"}, {"type": "softmax"}]}
        complete(document, 4, [0, 1])
        assert document == {"name": "iris", "layers": [{"type": "dense"}, {"type": "softmax"}]}

    @pytest.mark.parametrize("layers", [5, [], ["dense", "relu"], [{"type": "dense"}], [[], {}]])
    def test_nonsense_passes_through_to_be_refused_by_its_place(self, layers: Any) -> None:
        with pytest.raises(InvalidError) as refusal:
            ModelDefinition.load(complete({"name": "iris", "layers": layers}, 4, [0, 1]))
        assert all(problem.pointer.startswith("/layers") for problem in refusal.value.problems)

    @pytest.mark.parametrize("classes", [True, "red", None, {}, 2.5])
    def test_wrong_classes_are_refused_as_classes(self, classes: Any) -> None:
        document = {"name": "iris", "classes": classes, "layers": [{"type": "dense"}, {"type": "softmax"}]}
        with pytest.raises(InvalidError) as refusal:
            ModelDefinition.load(complete(document, 4, [0, 1]))
        assert "/classes" in {problem.pointer for problem in refusal.value.problems}

    def test_a_definition_must_be_an_object(self) -> None:
        with pytest.raises(InvalidError):
            complete([], 4, [0, 1])


def test_classes_may_be_booleans_and_whole_floats() -> None:
    booleans = ModelDefinition.load({"name": "b", "inputs": 1, "classes": [True, False], "hidden": []})
    numbers = ModelDefinition.load({"name": "b", "inputs": 1, "classes": [1.0, 0.0], "hidden": []})
    assert [type(label) for label in booleans.classes] == [bool, bool]
    assert [type(label) for label in numbers.classes] == [int, int]
    assert booleans != numbers
    assert ModelDefinition.parse(booleans.canonical()) == booleans
    weighted = {"name": "b", "inputs": 1, "classes": [False, True], "hidden": [], "class_weights": {"true": 2}}
    assert ModelDefinition.load(weighted).class_weights == {"true": 2}
