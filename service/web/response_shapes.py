"""JSON schemas of the service's responses."""

from __future__ import annotations

from typing import Any, get_args

from models.data.columns import KINDS
from models.data.labels import CLASS_LIST, LABELS
from models.data.rows import MATRIX, WEIGHTS
from models.definition.class_weights import ClassWeights
from models.identifiers import NAME_PATTERN
from models.registry.datasets import LISTED
from models.registry.integrity import Fault
from models.registry.traffic import STICKY_CHARACTERS
from models.serving.evaluation import VERSION
from models.training.checkpoint import METRICS
from service.access.audit import Action, Subject
from service.access.keys import Scope
from service.jobs.events import EVENT_TYPES
from service.jobs.record import State
from service.web.errors import PROBLEM_SCHEMA
from service.web.member_shapes import HELD_OUT, MEMBERS, NETWORK
from service.web.sample import SAMPLE
from service.web.shape_parts import NUMBER, OPTIONAL_NUMBER, described
from service.web.trust_shapes import ASKED, BESIDE, EVALUATED, EXAMPLES, ROW_DISTANCE

__all__ = ["SHAPES", "whole_or_short"]

#: The documents of which the query parameter ``fields`` asks for some members.
SHORTENED = ("Model", "Version", "Dataset", "Job", "Checkpoint")


_TIME = {"type": "string", "format": "date-time"}


def _list_of(name: str) -> dict[str, Any]:
    one = whole_or_short(name) if name in SHORTENED else {"$ref": f"#/components/schemas/{name}"}
    return described(
        "One page of a list, newest first. Large entries make it shorter than its limit.",
        data={"type": "array", "items": one},
        has_more={"type": "boolean"},
    )


def whole_or_short(name: str) -> dict[str, Any]:
    """What a route with the query parameter ``fields`` answers: the whole document, or what was asked for of it."""
    return {"anyOf": [{"$ref": f"#/components/schemas/{each}"} for each in (name, f"Short{name}")]}


def _short(name: str) -> dict[str, Any]:
    """A document of a shape of which any member may be left out."""
    return {
        "type": "object",
        "description": f"Those members of a {name} that `fields` names.",
        "properties": SHAPES[name]["properties"],
        "additionalProperties": False,
    }


_FAULT = {
    "type": "string",
    "enum": list(get_args(Fault)),
    "description": "What the last check found wrong with the file; absent if nothing is wrong.",
}
_JOB = {
    "type": ["string", "null"],
    "description": "The job that made it, which may have been deleted since; null if it was imported.",
}
_METRICS = {
    "type": "object",
    "properties": {
        **dict.fromkeys(METRICS, OPTIONAL_NUMBER),
        "epoch": {"type": "integer", "description": "The best epoch, of a checkpoint or version that holds that one."},
    },
}
_PROGRESS = described(
    "Progress of the job.",
    epoch={"type": "integer"},
    epochs={"type": "integer"},
    step={"type": "integer"},
    fraction={"type": "number"},
    eta_seconds=OPTIONAL_NUMBER,
)
_AVERAGE: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(("precision", "recall", "f1"), NUMBER),
    "required": ["precision", "recall", "f1"],
}
_NAMES = {"type": "array", "items": {"type": "string"}}
_COLUMN_TYPE = {"type": "string", "enum": [*KINDS]}
_VALUE = {"type": ["number", "string", "boolean", "null"]}
_COUNTED = described("A value and its rows.", value=_VALUE, count={"type": "integer"})
_WARNING = described(
    "Something to look at.", ("column",), code={"type": "string"}, detail={"type": "string"}, column={"type": "string"}
)
_WORDS = {"oneOf": [_NAMES, {"type": "string", "description": "Words with commas between them."}]}
_TABLE_OPTIONS: dict[str, Any] = {
    "label": {"type": ["string", "null"], "description": "The column of labels; it may be named at training instead."},
    "weight": {"type": ["string", "null"], "description": "The column that says how much each row counts."},
    "ignore": {**_WORDS, "description": "Columns to set aside."},
    "types": {
        "description": "Types of columns that are not to be found, as an object or as `zip:category,age:number`.",
        "oneOf": [{"type": "object", "additionalProperties": _COLUMN_TYPE}, {"type": "string"}],
    },
    "missing": {**_WORDS, "description": "Further words for missing values."},
}
_FITTED: dict[str, Any] = {
    "description": "How the columns of a table become numbers, with what the version has learned of each: its `width` "
    "in numbers, the range (`min`, `max`) or the `levels` with their `counts`, and what stands for a missing number "
    "(`fill`). Of a model without a version, as the definition has them.",
    "anyOf": [
        {
            "type": "array",
            "items": described(
                "A column.",
                ("width", "min", "max", "levels", "counts", "fill"),
                column={"type": "string"},
                type={"type": "string", "enum": [*KINDS, "ignore"]},
                width={"type": "integer"},
                min=_VALUE,
                max=_VALUE,
                levels={"type": ["array", "null"], "items": {"type": "string"}},
                counts={"type": "array", "items": {"type": "integer"}},
                fill=OPTIONAL_NUMBER,
            ),
        },
        {"type": "object"},
        {"const": "raw"},
    ],
}
_ANY_CLASS = {"oneOf": [*CLASS_LIST["items"]["oneOf"], {"type": "null"}]}
_ANSWERING = {"type": ["integer", "null"], "description": "Null if a checkpoint was asked for that is no version."}
_CHECKPOINT_ID = {"type": "string", "description": "The checkpoint that answers, if it was not asked for as a version."}
_OWNER = {"type": "string", "description": "Whose it is, if not the caller's."}
_PARTS: dict[str, Any] = {part: {"type": "string"} for part in ("database", "storage", "trainer")}
#: What may be asked of rows to classify.
_ASKED_OF_ROWS: dict[str, dict[str, Any]] = {
    "version": {
        "description": "What answers; the alias `default` if left out.",
        "anyOf": [VERSION, {"type": "null"}],
    },
    "sticky": {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": STICKY_CHARACTERS,
        "description": "Requests with the same text get the same version of an alias that names several; the header "
        "`Trainyard-Sticky` says it too.",
    },
    "top_k": {
        "type": ["integer", "null"],
        "minimum": 1,
        "description": "Also return the `top_k` likeliest classes of each row.",
    },
    "report": {
        "type": "boolean",
        "description": "Also say which values of each row were missing, unseen in training, or out of range, "
        "and how far the row lies from the training rows.",
    },
    **ASKED,
}
SHAPES: dict[str, dict[str, Any]] = {
    "Problem": PROBLEM_SCHEMA,
    "Model": described(
        "A model: its newest definition with every default filled in, and its present state.",
        ("features", "label", "layers", "optimizer", "loss", "network", "owner"),
        name={"type": "string", "pattern": f"^{NAME_PATTERN}$"},
        inputs={
            "type": ["integer", "null"],
            "description": "Numbers that the network reads; null for a table's columns until a version has learned.",
        },
        features=_FITTED,
        label={"type": "string", "description": "The column of the classes in the table that trained the model."},
        classes=CLASS_LIST,
        layers={"type": "array", "items": {"$ref": "#/components/schemas/Layer"}},
        optimizer={"$ref": "#/components/schemas/Optimizer"},
        loss={"$ref": "#/components/schemas/Loss"},
        network=NETWORK,
        class_weights={"anyOf": [ClassWeights().json_schema(), {"type": "null"}]},
        dtype={"type": "string", "enum": ["float32", "float64"]},
        metadata={"type": "object"},
        parameters={"type": ["integer", "null"], "description": "Number of trainable parameters; null as `inputs`."},
        default={"type": ["integer", "null"], "description": "The version for requests that name no version."},
        metrics={
            "anyOf": [_METRICS, {"type": "null"}],
            "description": "Those of the default version; null if there is none.",
        },
        job={
            "anyOf": [
                described(
                    "A short form of a job.",
                    id={"type": "string"},
                    state={"type": "string", "enum": [*State]},
                    created_at=_TIME,
                    finished_at={"type": ["string", "null"], "format": "date-time"},
                    progress=_PROGRESS,
                    members={"type": "integer", "description": "How many networks it trains; 0 for a single one."},
                ),
                {"type": "null"},
            ],
            "description": "Its newest job; null if there is none.",
        },
        owner=_OWNER,
        created_at=_TIME,
    ),
    "Version": described(
        "A published version of a model; lists leave out its definition.",
        ("definition", "inputs", "parameters", "features"),
        model={"type": "string"},
        version={"type": "integer"},
        job=_JOB,
        checkpoint={"type": "string"},
        metrics=_METRICS,
        created_at=_TIME,
        definition={"type": "object", "description": "The definition of its checkpoint, as `GET /models/{name}`."},
        inputs={"type": "integer", "description": "Numbers that the network reads, if the model reads a table."},
        parameters={"type": "integer", "description": "Number of trainable parameters, if the model reads a table."},
        features=_FITTED,
    ),
    "Dataset": described(
        "Rows of named columns, stored under a name.",
        ("fault", "owner"),
        id={"type": "string"},
        owner=_OWNER,
        name={"type": ["string", "null"]},
        rows={"type": "integer"},
        label={"type": ["string", "null"], "description": "The column of labels; null if none is named yet."},
        features={**_NAMES, "description": "The columns that a model takes if its definition names none."},
        classes=CLASS_LIST,
        columns={"type": "array", "items": {"$ref": "#/components/schemas/Column"}},
        format={"type": ["object", "null"], "description": "How the file was read; null if that is not recorded."},
        warnings={"type": "array", "items": _WARNING},
        bytes={"type": "integer"},
        sha256={"type": "string"},
        created_at=_TIME,
        fault=_FAULT,
    ),
    "Column": described(
        "A column of a dataset. Times are ISO text.",
        ("missing", "distinct", "min", "max", "levels", "use", "reason"),
        name={"type": "string"},
        type=_COLUMN_TYPE,
        missing={"type": "integer", "description": "Rows without a value."},
        distinct={"type": "integer", "description": "Different values."},
        min=_VALUE,
        max=_VALUE,
        levels={**_NAMES, "description": f"The first {LISTED} words of a category, or the two of a boolean column."},
        use={"type": "boolean", "description": "Present, and false, if the column is set aside."},
        reason={"type": "string", "description": "Why the column is set aside."},
    ),
    "Profile": described(
        "What each column of a dataset holds.",
        id={"type": "string"},
        name={"type": ["string", "null"]},
        rows={"type": "integer"},
        label={"type": ["string", "null"]},
        columns={"type": "array", "items": {"$ref": "#/components/schemas/ColumnProfile"}},
    ),
    "ColumnProfile": described(
        "What a column holds. Times are ISO text, and their standard deviation is in seconds.",
        ("reason", "min", "max", "mean", "std", "quantiles", "histogram", "levels", "values"),
        name={"type": "string"},
        type=_COLUMN_TYPE,
        missing={"type": "integer"},
        distinct={"type": "integer"},
        use={"type": "boolean"},
        reason={"type": "string"},
        relation={
            **OPTIONAL_NUMBER,
            "description": "Mutual information with the label, from 0 to 1; null without a label, and for texts.",
        },
        min=_VALUE,
        max=_VALUE,
        mean=_VALUE,
        std=OPTIONAL_NUMBER,
        quantiles={"type": "array", "items": _VALUE, "description": "At 0, 0.05, 0.25, 0.5, 0.75, 0.95 and 1."},
        histogram={
            "type": ["object", "null"],
            "properties": {
                "edges": {"type": "array", "items": _VALUE},
                "counts": {"type": "array", "items": {"type": "integer"}},
            },
        },
        levels={
            "type": "array",
            "items": _COUNTED,
            "description": "Words, the most frequent first, at most 1,000 or `listed`.",
        },
        values={"type": "array", "items": _COUNTED, "description": "Numbers, if there are at most 1,000 or `listed`."},
    ),
    "RowList": described(
        "Rows of a dataset in their order.",
        data={
            "type": "array",
            "items": described(
                "A row. Missing values are null.",
                row={"type": "integer", "description": "The row's number, from 1."},
                values={"type": "object", "additionalProperties": _VALUE},
            ),
        },
        has_more={"type": "boolean"},
        after={"type": "integer", "description": "`after` of the next page."},
    ),
    "Job": described(
        "A training job.",
        ("owner",),
        id={"type": "string"},
        owner=_OWNER,
        model={"type": "string"},
        state={"type": "string", "enum": [*State]},
        created_at=_TIME,
        started_at={"type": ["string", "null"], "format": "date-time"},
        finished_at={"type": ["string", "null"], "format": "date-time"},
        attempt={"type": "integer", "description": "Number of the present attempt; rises by one after each crash."},
        progress=_PROGRESS,
        metrics=_METRICS,
        best={
            "type": ["object", "null"],
            "description": "The best epoch so far, if the job looks for it (`early_stopping` or `publish: best`); that "
            "of the best trial of a sweep, which is `member`.",
            "properties": {
                "member": {"type": "integer"},
                "epoch": {"type": "integer"},
                "monitor": {"type": "string"},
                "value": {"type": "number"},
            },
        },
        stopped_by={
            "enum": ["early_stopping", "max_seconds", None],
            "description": "Why the job ended before its last epoch.",
        },
        kernels={
            "enum": ["numpy", "llvm", None],
            "description": "How the calls of its steps run: by NumPy, or compiled; null before it begins, and of "
            "jobs of earlier releases.",
        },
        members=MEMBERS,
        held_out=HELD_OUT,
        checkpoint={"type": ["string", "null"], "description": "The newest checkpoint."},
        version={"type": ["integer", "null"], "description": "The version that the job published."},
        error={
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
        },
        warnings={"type": "array", "items": _WARNING, "description": "What in its data is probably not intended."},
        request={"type": "object", "description": "The request, with defaults filled in and without its rows."},
    ),
    "DryRun": described(
        "What a training run would need; nothing was stored.",
        dry_run={"const": True},
        model={"type": "string"},
        members={"type": "integer", "description": "How many networks; the memory is that of one of them."},
        inputs={"type": "integer", "description": "Numbers that a row becomes, for the largest network."},
        hidden={
            "type": "array",
            "items": {"type": "integer"},
            "description": "Units of each hidden layer of the largest network.",
        },
        classes={"type": "integer", "description": "How many classes there are."},
        parameters={"type": "integer"},
        bytes=described(
            "Memory of each part.",
            parameters={"type": "integer"},
            gradients={"type": "integer"},
            moments={"type": "integer"},
            activations={"type": "integer"},
            data={"type": "integer"},
        ),
        rows=described("Rows of each part.", training={"type": "integer"}, validation={"type": "integer"}),
        batches_per_epoch={"type": "integer"},
        estimate=described(
            "Time, estimated from a few measured steps; null if training diverges in them.",
            seconds_per_step=OPTIONAL_NUMBER,
            seconds_per_epoch=OPTIONAL_NUMBER,
            seconds=OPTIONAL_NUMBER,
        ),
        warnings={"type": "array", "items": _WARNING},
    ),
    "Epoch": described(
        "One pass over the data. Loss and accuracy are means over its batches, each taken before the batch's update. "
        "Epochs of earlier releases have no log loss.",
        ("member", "validation_log_loss"),
        member={"type": "integer", "description": "The member whose epoch it is, if the job trains several."},
        epoch={"type": "integer"},
        loss={"type": "number"},
        accuracy={"type": "number"},
        validation_loss=OPTIONAL_NUMBER,
        validation_log_loss={**OPTIONAL_NUMBER, "description": "Without smoothing, focus, weights and penalties."},
        validation_accuracy=OPTIONAL_NUMBER,
        learning_rate={"type": "number"},
        seconds={"type": "number"},
    ),
    "History": described(
        "One page of a job's epochs, oldest first. If the job trains at most 10,000 epochs, all are there. Of more, "
        "there are the first 1,000, then one of so many that there are at most 10,000, and always the best one and the "
        "last one. Several members share these points, but each has 200 or more, and its first 100 epochs.",
        ("event",),
        event={"type": "integer", "description": "With `points`: the newest event of the job when they were read."},
        data={"type": "array", "items": {"$ref": "#/components/schemas/Epoch"}},
        has_more={"type": "boolean"},
    ),
    "Event": described(
        "A change or report of a job.",
        id={"type": "integer"},
        type={"type": "string", "enum": EVENT_TYPES},
        at=_TIME,
        data={
            "type": "object",
            "description": "`state` and, of a job that has failed, `error`; the epoch as in the history; the "
            "`checkpoint`, its `epoch` and `step`; or `level`, `message` and `code`. Among the events of all jobs also "
            "`job`, the id.",
        },
    ),
    "Checkpoint": described(
        "A checkpoint: an immutable HDF5 file.",
        ("fault",),
        id={"type": "string"},
        model={"type": "string"},
        job=_JOB,
        epoch={"type": "integer"},
        step={"type": "integer"},
        bytes={"type": "integer"},
        sha256={"type": "string"},
        metrics=_METRICS,
        created_at=_TIME,
        fault=_FAULT,
    ),
    "PredictRequest": {
        "description": "Rows to classify: of a table, or of numbers.",
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("PredictRows", "PredictInputs")],
        "examples": [
            {"model": "sample", "rows": [{"petal_length": 1.5, "petal_width": 0.2, "site": "meadow"}]},
            {
                "model": "sample",
                "columns": ["petal_length", "petal_width", "site"],
                "rows": [[4.9, None, "wood"], [6.1, 2.3, "wood"]],
                "report": True,
                "top_k": 2,
            },
            {
                "model": "sample",
                "rows": [{"petal_length": 4.9}],
                "version": {"job": "job_06f3n9w0s5vkqk2d3a4b5", "checkpoint": "last"},
            },
            *EXAMPLES,
        ],
    },
    "PredictRows": {
        **described(
            "Rows of a table to classify.",
            ("columns", *_ASKED_OF_ROWS),
            model={"type": "string"},
            rows={
                "description": "Rows of a table: objects by column, or with `columns` lists of values. A missing "
                "value is null or left out. Columns that the model does not use, and the labels, may be among them.",
                "type": "array",
                "items": {
                    "oneOf": [
                        {"type": "object", "additionalProperties": _VALUE},
                        {"type": "array", "items": _VALUE},
                    ]
                },
            },
            columns={**_NAMES, "description": "The names of the columns, if rows are lists."},
            **_ASKED_OF_ROWS,
        ),
        "additionalProperties": False,
    },
    "PredictInputs": {
        **described(
            "Rows of numbers to classify.",
            (*_ASKED_OF_ROWS,),
            model={"type": "string"},
            inputs={
                "description": "Rows with one number for each input of the model; a single row may be a flat array.",
                "oneOf": [MATRIX, {"type": "array", "items": {"type": "number"}}],
            },
            **_ASKED_OF_ROWS,
        ),
        "additionalProperties": False,
    },
    "Prediction": described(
        "The likeliest class of each row, and the probability of every class in the order of `classes`.",
        ("top", "checkpoint", "report", *BESIDE),
        model={"type": "string"},
        version=_ANSWERING,
        checkpoint=_CHECKPOINT_ID,
        report={
            "type": "array",
            "items": described(
                "What is unusual about one row: columns, and the row as a whole.",
                tuple(ROW_DISTANCE),
                unseen=_NAMES,
                missing=_NAMES,
                out_of_range=_NAMES,
                **ROW_DISTANCE,
            ),
        },
        **BESIDE,
        classes=CLASS_LIST,
        predictions=CLASS_LIST,
        probabilities=MATRIX,
        top={
            "type": "array",
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"class": CLASS_LIST["items"], "probability": {"type": "number"}},
                    "required": ["class", "probability"],
                },
            },
        },
    ),
    "Evaluation": described(
        "How well a version classifies labelled rows. A value is null if the rows leave it undefined.",
        ("checkpoint", "cell", "folds", *EVALUATED),
        model={"type": "string"},
        version=_ANSWERING,
        checkpoint=_CHECKPOINT_ID,
        rows={"type": "integer"},
        trained_on={
            "type": ["integer", "null"],
            "description": "How many of these rows the version was trained on: those of the same dataset by their "
            "numbers in it, others by what the network reads of them and their label. Null if that is not known: the "
            "version was imported, its job or the rows of its job were deleted (rows within a request are, when its "
            "job ends), or it was trained on more than 1,000,000 other rows. Rows of a checkpoint that its job "
            "started from do not count.",
        },
        folds={
            "type": "integer",
            "description": "In how many folds the rows were held out, if members that did not train on a row predict "
            "it rather than all of them.",
        },
        cell=described(
            "The rows with the label and the prediction that the request names, null for any.",
            label=_ANY_CLASS,
            predicted=_ANY_CLASS,
            count={"type": "integer", "description": "How many there are."},
            rows={
                "type": "array",
                "items": described(
                    "A row.",
                    row={"type": "integer", "description": "Its number in the data, from 1."},
                    values={
                        "description": "Its values by column, or its numbers.",
                        "oneOf": [
                            {"type": "object", "additionalProperties": _VALUE},
                            {"type": "array", "items": {"type": "number"}},
                        ],
                    },
                    label=CLASS_LIST["items"],
                    predicted=CLASS_LIST["items"],
                    probability={"type": "number", "description": "Of the predicted class."},
                ),
            },
        ),
        classes=CLASS_LIST,
        accuracy=NUMBER,
        balanced_accuracy={**NUMBER, "description": "Mean recall over the classes that occur among the labels."},
        top_k={"type": ["integer", "null"], "description": "The `top_k` of the request."},
        top_k_accuracy={
            **OPTIONAL_NUMBER,
            "description": "Share of rows whose label is among the `top_k` likeliest classes.",
        },
        log_loss={**NUMBER, "description": "Mean cross-entropy in nats; probabilities are clipped at 1e-7."},
        brier_score={**NUMBER, "description": "Mean squared distance to the one-hot label, from 0 to 2."},
        matthews_correlation={**NUMBER, "description": "From -1 to 1; 0 if all labels or all predictions are alike."},
        roc_auc={**OPTIONAL_NUMBER, "description": "Mean of `roc_auc` in `per_class`, without nulls."},
        calibration_error={
            **NUMBER,
            "description": "Expected calibration error of the top probability, in 15 equal bins.",
        },
        macro={**_AVERAGE, "description": "Mean over the classes that occur among labels or predictions."},
        micro={**_AVERAGE, "description": "Over all rows; each of the three equals the accuracy."},
        weighted={**_AVERAGE, "description": "Mean over the classes, weighted by their support."},
        per_class={
            "type": "array",
            "description": "Each class against the rest, in the order of `classes`; a quotient x/0 counts as 0.",
            "items": {
                "type": "object",
                "properties": {
                    "class": CLASS_LIST["items"],
                    **_AVERAGE["properties"],
                    "support": {"type": "integer", "description": "Rows with this label."},
                    "roc_auc": {**OPTIONAL_NUMBER, "description": "Null if no row or every row has this label."},
                },
                "required": ["class", *_AVERAGE["required"], "support", "roc_auc"],
            },
        },
        confusion_matrix={
            "description": "Counts by label (row) and prediction (column); null for more than 1,000 classes.",
            "oneOf": [{"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, {"type": "null"}],
        },
        **EVALUATED,
    ),
    "RowsRequest": {
        "description": "Rows as `inputs` and `labels`, as `inputs` with the names of their columns in `features`, or "
        "as `rows`: objects, or lists in the order of `columns`.",
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("MatrixRows", "NamedMatrixRows", "ValueRows")],
        "examples": [{"name": "sample", "label": "species", "rows": SAMPLE}],
    },
    "MatrixRows": {
        **described(
            "A matrix with labels.",
            ("weights",),
            name={"type": "string"},
            inputs=MATRIX,
            labels=LABELS,
            weights=WEIGHTS,
        ),
        "additionalProperties": False,
    },
    "NamedMatrixRows": {
        **described(
            "A matrix with the names of its columns.",
            ("labels", "weights", *_TABLE_OPTIONS),
            name={"type": "string"},
            inputs=MATRIX,
            features=_NAMES,
            labels=LABELS,
            weights=WEIGHTS,
            **_TABLE_OPTIONS,
        ),
        "additionalProperties": False,
    },
    "ValueRows": {
        **described(
            "Rows of values by column.",
            ("columns", *_TABLE_OPTIONS),
            name={"type": "string"},
            rows={
                "type": "array",
                "items": {
                    "oneOf": [
                        {"type": "object", "additionalProperties": _VALUE},
                        {"type": "array", "items": _VALUE},
                    ]
                },
            },
            columns=_NAMES,
            **_TABLE_OPTIONS,
        ),
        "additionalProperties": False,
    },
    "Readiness": described("The state of each part.", status={"const": "ready"}, **_PARTS),
    "NotReady": {
        "allOf": [{"$ref": "#/components/schemas/Problem"}, described("The state of each part.", **_PARTS)],
    },
    "Key": described(
        "What the caller may do.",
        id={"type": ["string", "null"], "description": "Null if the service has no keys."},
        owner={"type": "string"},
        hint={"type": ["string", "null"], "description": "The end of the key."},
        scopes={"type": "array", "items": {"type": "string", "enum": [*Scope]}},
        models={
            "type": ["array", "null"],
            "items": {"type": "string"},
            "description": "The only models that it may use; null: all of its owner.",
        },
        created_at={"type": ["string", "null"], "format": "date-time"},
        expires_at={"type": ["string", "null"], "format": "date-time"},
        limits={
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "Each limit by its name.",
        },
        usage={
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "What the owner uses of limits that are about numbers of things.",
        },
    ),
    "Record": described(
        "A record of the audit trail.",
        id={"type": "integer"},
        at=_TIME,
        key={"type": ["string", "null"], "description": "Null if it was done without a key."},
        owner={"type": "string"},
        action={"type": "string", "enum": [*Action]},
        kind={"type": "string", "enum": [*Subject]},
        subject={"type": "string", "description": "A name or an id."},
        request={"type": ["string", "null"], "description": "The id of the request."},
    ),
    "RecordList": _list_of("Record"),
    **{f"{name}List": _list_of(name) for name in ("Model", "Version", "Dataset", "Job", "Event", "Checkpoint")},
    "AliasList": _list_of("Alias"),
}
SHAPES |= {f"Short{name}": _short(name) for name in SHORTENED}
