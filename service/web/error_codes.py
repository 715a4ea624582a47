"""Every ``code`` of an error, with its meaning and what to do: the table behind docs/errors.md.

``python -m service.web.error_codes`` prints that page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["JOBS", "RESPONSES", "WARNINGS", "ErrorCode", "Refusal", "page"]


class Refusal(NamedTuple):
    """The code of a problem document."""

    code: str
    status: int
    meaning: str
    remedy: str


class ErrorCode(NamedTuple):
    """The code of a job's error, or of a warning."""

    code: str
    meaning: str
    remedy: str


RESPONSES = (
    Refusal("bad_request", 400, "The request is not valid HTTP for this service.", "Change what `detail` names."),
    Refusal(
        "invalid_body",
        400,
        "The body is incomplete, its chunks are malformed, or it cannot be decoded.",
        "Send the whole body again. Check `Content-Length` and `Content-Encoding`.",
    ),
    Refusal(
        "invalid_hdf5",
        400,
        "An uploaded file is not an HDF5 file, or it is damaged.",
        "Upload a file that h5py can open. [The layout](checkpoint-format.md) is described.",
    ),
    Refusal(
        "invalid_idempotency_key",
        400,
        "The header `Idempotency-Key` is empty, too long, or not printable ASCII.",
        "Use another text, for example a UUID.",
    ),
    Refusal(
        "invalid_json",
        400,
        "The body is not JSON, is not an object, has a key twice in one object, or has a number that is not finite.",
        "Correct the body. `detail` names the place.",
    ),
    Refusal(
        "invalid_network_file",
        400,
        "An uploaded ONNX or skops file is damaged, or it takes too much time or memory to read.",
        "Save the model again and upload the new file. [What is taken](imports.md) is described.",
    ),
    Refusal("missing_file", 400, "A form has no field `file`.", "Send the file in the field `file`."),
    Refusal(
        "invalid_key",
        401,
        "The key is not complete, unknown, revoked or expired.",
        "Send the whole key, or ask for a new one: `trainyard keys create NAME`.",
    ),
    Refusal(
        "key_required",
        401,
        "The service has keys, and the request has none.",
        "Send `Authorization: Bearer ty_…`. `trainyard keys create NAME` makes a key.",
    ),
    Refusal(
        "foreign_page",
        403,
        "A browser sent the request for a page of another site.",
        "List the origin of that page in `TRAINYARD_ORIGINS` if it may use the service.",
    ),
    Refusal(
        "not_loopback",
        403,
        "The service has no keys, and the request comes from another machine.",
        "Make a key: `trainyard keys create NAME`.",
    ),
    Refusal(
        "scope_missing",
        403,
        "The key is good, but may not do this.",
        "Use a key with the scope that `detail` names. `GET /key` shows what a key may do.",
    ),
    Refusal(
        "unknown_host",
        403,
        "The header `Host` names neither this machine nor what `TRAINYARD_HOSTS` lists.",
        "Add the name to `TRAINYARD_HOSTS`, or make a key.",
    ),
    Refusal(
        "file_missing",
        404,
        "The file of a checkpoint or dataset is missing.",
        "Put the file back from a backup, then run `trainyard verify`.",
    ),
    Refusal(
        "not_found",
        404,
        "The path, or a model, version, alias, job, checkpoint or dataset that the request names, does not exist.",
        "Check the name. `GET /models`, `/jobs` and `/datasets` list what exists.",
    ),
    Refusal(
        "method_not_allowed",
        405,
        "The path has no such method.",
        "Use a method from the header `Allow`.",
    ),
    Refusal(
        "not_acceptable",
        406,
        "The answer cannot be sent as a type that `Accept` names.",
        "Ask for a type that `detail` names.",
    ),
    Refusal(
        "request_timeout",
        408,
        "The request has not arrived in time: its head within 10 seconds, its body at 1,000 bytes a second or more.",
        "Send it again, over a better connection.",
    ),
    Refusal("dataset_in_use", 409, "An active job uses the dataset.", "Cancel the job, or wait until it ends."),
    Refusal(
        "idempotency_key_in_use",
        409,
        "A request with the same `Idempotency-Key` is still being processed.",
        "Send the request again later. It will be answered as the first one was.",
    ),
    Refusal(
        "job_active",
        409,
        "The job is queued, running or paused, and so cannot be deleted.",
        "Cancel it with `POST /jobs/{id}/cancel`, wait until it has ended, and delete it then.",
    ),
    Refusal("model_in_use", 409, "The model has active jobs.", "Wait, or cancel them with `?force=true`."),
    Refusal(
        "name_taken",
        409,
        "Another dataset has this name, or, if `exact` was asked, the model has another definition.",
        "Choose another name, or delete the other.",
    ),
    Refusal(
        "no_checkpoint",
        409,
        "The job has saved no such checkpoint yet, does not look for its best epoch, or is a sweep under way.",
        "Wait, or train with what `detail` names.",
    ),
    Refusal(
        "no_held_out_rows",
        409,
        "The job has no predictions of rows that its members held out: it has not ended, or trains a single network.",
        "Wait until it ends, or train with `folds`.",
    ),
    Refusal(
        "no_version", 409, "The model has no version yet.", "Train it. A version is published when a job succeeds."
    ),
    Refusal(
        "not_exportable",
        409,
        "The version cannot be written in the format: it reads a column of texts, or is larger than a file may be.",
        "Train a version as `detail` says, or predict with the service.",
    ),
    Refusal("reserved_alias", 409, "The alias `latest` always means the newest version.", "Choose another alias."),
    Refusal(
        "wrong_state",
        409,
        "The state of the job does not allow this, for example to resume a job that is not paused.",
        "`GET /jobs/{id}` shows the state.",
    ),
    Refusal(
        "form_too_large",
        413,
        "A form has more than 1,000 fields, or a text field of more than 500,000 bytes.",
        "Send the file in the field `file`, and only the options beside it.",
    ),
    Refusal(
        "too_large",
        413,
        "The body is larger than `TRAINYARD_MAX_BODY_BYTES`, a checkpoint than `TRAINYARD_MAX_IMPORT_BYTES`, or a "
        "table than `TRAINYARD_MAX_DATASET_BYTES`; or the request takes more memory than `TRAINYARD_MEMORY_BYTES` "
        "allows one request.",
        "Send less, for example as a dataset or a file of rows, or raise the setting.",
    ),
    Refusal("uri_too_long", 414, "The request line is too long.", "Send parameters in the body."),
    Refusal(
        "unsupported_encoding",
        415,
        "The service does not decompress this `Content-Encoding`.",
        "Send the body as it is, or with gzip or deflate.",
    ),
    Refusal(
        "unsupported_media_type",
        415,
        "The route does not accept this `Content-Type`.",
        "Send the type that `detail` names.",
    ),
    Refusal(
        "range_not_satisfiable",
        416,
        "The header `Range` asks for bytes that the file does not have.",
        "Ask for a range within the file's size.",
    ),
    Refusal("expectation_failed", 417, "The header `Expect` asks for what the service cannot do.", "Leave it out."),
    Refusal(
        "idempotency_key_reused",
        422,
        "The `Idempotency-Key` was used with another body or query.",
        "Send a new request with a new key.",
    ),
    Refusal(
        "invalid_file",
        422,
        "A table cannot be read: it is damaged, or reading it takes too much time or memory.",
        "Save the table again, or as another type of file; split a large one.",
    ),
    Refusal(
        "too_many_columns",
        422,
        "A dataset has more columns than may be (`TRAINYARD_MAX_DATASET_COLUMNS`).",
        "Leave out columns that no model needs.",
    ),
    Refusal(
        "too_many_layers",
        422,
        "A network has more layers than may be (`TRAINYARD_MAX_LAYERS`).",
        "Use fewer layers.",
    ),
    Refusal(
        "too_many_parameters",
        422,
        "A model has more parameters than may be (`TRAINYARD_MAX_PARAMETERS`).",
        "Use fewer or smaller layers.",
    ),
    Refusal(
        "too_many_rows",
        422,
        "A dataset, or the rows of a request, are more than may be (`TRAINYARD_MAX_DATASET_ROWS`).",
        "Send fewer rows.",
    ),
    Refusal(
        "too_many_units",
        422,
        "A layer has more units than may be (`TRAINYARD_MAX_UNITS`).",
        "Use a smaller layer.",
    ),
    Refusal(
        "too_much_work",
        422,
        "A job would train on more rows in all its epochs than may be (`TRAINYARD_MAX_EPOCH_ROWS`).",
        "Train fewer epochs, fewer trials, or on fewer rows.",
    ),
    Refusal(
        "training_too_large",
        422,
        "A job would take more memory than may be, as it is predicted (`TRAINYARD_MAX_TRAINING_BYTES`).",
        "Use a smaller model or batch, fewer rows or fewer epochs.",
    ),
    Refusal(
        "validation_failed",
        422,
        "The request is well-formed, but values in it are not valid.",
        "Correct each value in `errors`. `pointer`, or `row`, `line` and `column`, give its place.",
    ),
    Refusal(
        "storage_quota",
        429,
        "All checkpoints and datasets together would be larger than they may be (`TRAINYARD_MAX_STORED_BYTES`).",
        "Delete models or datasets, or keep fewer checkpoints.",
    ),
    Refusal(
        "too_many_datasets",
        429,
        "There are as many datasets as there may be (`TRAINYARD_MAX_DATASETS`).",
        "Delete datasets.",
    ),
    Refusal(
        "too_many_jobs",
        429,
        "As many jobs are queued or paused as may be (`TRAINYARD_MAX_QUEUED_JOBS`).",
        "Wait until some have run, or cancel some.",
    ),
    Refusal(
        "too_many_models", 429, "There are as many models as there may be (`TRAINYARD_MAX_MODELS`).", "Delete models."
    ),
    Refusal(
        "too_many_requests",
        429,
        "More requests came in a second than may (`TRAINYARD_MAX_REQUESTS_PER_SECOND`).",
        "Send the request again after `Retry-After`.",
    ),
    Refusal(
        "headers_too_large",
        431,
        "The headers are too many or too long.",
        "Send fewer. `detail` names the limit.",
    ),
    Refusal(
        "checkpoint_unreadable",
        500,
        "The file of a checkpoint is missing or damaged, so that a version cannot be served or a run cannot start.",
        "Put the file back from a backup, then run `trainyard verify`. Other versions are not affected.",
    ),
    Refusal(
        "internal_error",
        500,
        "An error of the service.",
        "The service's log has details under the `request_id` of the response.",
    ),
    Refusal(
        "storage_error",
        500,
        "A file or the database cannot be read or written.",
        "Check the disk. The service's log names the path.",
    ),
    Refusal(
        "extra_missing",
        501,
        "The service was installed without a package that the request needs.",
        "Install the extra that `detail` names, then start the service again.",
    ),
    Refusal(
        "not_implemented",
        501,
        "The header `Transfer-Encoding` has another coding than `chunked`.",
        "Compress the body with `Content-Encoding: gzip`, or send it as it is.",
    ),
    Refusal(
        "busy",
        503,
        "More requests wait than the service can answer soon, or others hold the memory that this one needs.",
        "Try again after `Retry-After`, or send fewer rows. [Operations](operations.md) says what one core carries; "
        "`TRAINYARD_MEMORY_BYTES` bounds the memory.",
    ),
    Refusal(
        "database_unavailable", 503, "The database does not answer.", "Send the request again after `Retry-After`."
    ),
    Refusal(
        "not_ready",
        503,
        "`GET /health/ready`: the database or the storage does not work.",
        "`database` and `storage` in the response say what is wrong.",
    ),
    Refusal(
        "reader_lost",
        503,
        "The process that reads uploaded files ended before it answered.",
        "Send the file again after `Retry-After`.",
    ),
    Refusal(
        "storage_full",
        503,
        "The disk has no space left.",
        "Free space, for example by deleting models or datasets. Send the request again after `Retry-After`.",
    ),
    Refusal(
        "storage_low",
        503,
        "The disk space that is left is kept for what running jobs save (`TRAINYARD_MIN_FREE_BYTES`).",
        "Delete models, datasets or jobs, or keep fewer checkpoints. Send the request again after `Retry-After`.",
    ),
    Refusal(
        "storage_unavailable",
        503,
        "The object storage (`TRAINYARD_STORAGE`) does not answer. No file counts as missing or damaged for that.",
        "Send the request again after `Retry-After`. The service's log has the reason.",
    ),
    Refusal(
        "too_many_dry_runs",
        503,
        "Too many dry runs are waiting for their turn.",
        "Send the request again after `Retry-After`.",
    ),
    Refusal(
        "storage_reserve",
        507,
        "What is to be stored would take disk space that is kept for running jobs (`TRAINYARD_MIN_FREE_BYTES`).",
        "Delete models, datasets or jobs, then send it again.",
    ),
)

JOBS = (
    ErrorCode(
        "checkpoint_unreadable",
        "A checkpoint from which the job must go on is missing or damaged.",
        "Put the file back from a backup, or train again without it.",
    ),
    ErrorCode(
        "crashed",
        "The job's process crashed repeatedly, for example with SIGSEGV.",
        "Check the memory and the installation of NumPy and h5py, then train again from the last checkpoint.",
    ),
    ErrorCode(
        "database_unavailable",
        "The database did not answer when a checkpoint was to be named.",
        "Start it again. Training continues and the next checkpoint is tried; the last one is tried until it succeeds.",
    ),
    ErrorCode(
        "diverged",
        "The loss or a gradient is not finite.",
        "Lower the learning rate, clip gradients, or scale the inputs. `detail` names the last good checkpoint.",
    ),
    ErrorCode("internal_error", "An error of the service.", "The trainer's log has the traceback."),
    ErrorCode(
        "out_of_memory",
        "The job's process repeatedly needed more memory than there is.",
        "Use a smaller batch or model, or set `TRAINYARD_PARALLEL_JOBS` lower.",
    ),
    ErrorCode(
        "storage_error",
        "A checkpoint cannot be written.",
        "Check the disk. Training continues and the next checkpoint is tried; the last one is tried until it succeeds.",
    ),
    ErrorCode(
        "storage_full",
        "The disk has no space left for a checkpoint.",
        "Free space. Training continues and the next checkpoint is tried; the last one is tried until it succeeds.",
    ),
    ErrorCode(
        "storage_unavailable",
        "The object storage (`TRAINYARD_STORAGE`) does not answer.",
        "Check it. Training continues and the next checkpoint is tried; the last one is tried until it succeeds. A job "
        "that cannot begin without a file is tried again a few times.",
    ),
    ErrorCode(
        "worker_lost",
        "The job's process was ended from outside repeatedly.",
        "Train again from the last checkpoint. The trainer's log has the signals.",
    ),
)

WARNINGS = (
    ErrorCode(
        "ambiguous_dates",
        "Days and months of a column may be swapped.",
        "Name the format: `dates=%d.%m.%Y`.",
    ),
    ErrorCode(
        "column_set_aside",
        "A column is not used, because it counts the rows, or holds one value or a different text in nearly every row.",
        "If it matters, name its type, as in `types=column:category`, or name it in the features of a model.",
    ),
    ErrorCode(
        "constant_columns",
        "A column has the same value in all rows, so that nothing can be learned from it.",
        "Leave the column out.",
    ),
    ErrorCode("diverges", "The loss was not finite within the measured steps.", "Lower the learning rate."),
    ErrorCode(
        "duplicates_across_split",
        "Rows are in the training part and in the validation part.",
        "Remove duplicates, or the validation metrics are too good.",
    ),
    ErrorCode("large_values", "Inputs are so large that training may diverge.", "Scale the inputs."),
    ErrorCode(
        "mixed_column",
        "A column holds numbers and words, and is taken as words.",
        "Correct the cells, which `types=NAME:number` lists, or add the word to `missing`.",
    ),
    ErrorCode("no_header", "The first row looks like the rest, so columns are named by place.", "Set `header=true`."),
    ErrorCode("not_measured", "The network is too large to measure steps in the web service.", "Train a short job."),
    ErrorCode("rare_classes", "A class has fewer than two rows.", "Add rows of the class, or remove it."),
    ErrorCode(
        "rows_without_label",
        "Rows have no label, or a word for a missing value such as NA; they are left out.",
        "Add the labels if you have them.",
    ),
    ErrorCode(
        "unscaled_columns",
        "Columns of plain numbers have a mean or a spread that makes training slow.",
        'Train with features, which bring them to a common size, or use `"scale": "standardize"`.',
    ),
)


def page() -> str:
    """The text of docs/errors.md."""
    responses = _table(
        "Code | Status | Meaning | What to do", [(f"`{r.code}`", str(r.status), *r[2:]) for r in RESPONSES]
    )
    jobs, warnings = (
        _table("Code | Meaning | What to do", [(f"`{row.code}`", *row[1:]) for row in rows])
        for rows in (JOBS, WARNINGS)
    )
    return f"""\
# Errors

Every response with a status from 400 on is a problem document (RFC 9457). Its `code` is a stable word for programs;
`detail` is a sentence for people and may change. `errors` lists the faults, each with its place: the first 20 of them,
and `errors_total` counts all if there are more. The document has at most 20,000 bytes. Of anything that was received,
it repeats at most 100 characters, and "…" stands for the rest, in JSON pointers too. A list that is too long has one
fault, and its members are not looked at. `python -m service.web.error_codes` generates this page, and a test compares
it with the code.

## Responses

{responses}

A response with status 503 has the header `Retry-After`.

## Jobs

`error.code` of a job in the state `failed`. While a job runs, `error` is the reason why its last checkpoint was not
saved, and an event of the job has the code of each lost worker. A job whose data or checkpoint was refused has the code
of that refusal, from the table above.

{jobs}

## Warnings

`warnings` in the response to `POST /train?dry_run=true`. They prevent nothing.

{warnings}
"""


def _table(head: str, rows: Sequence[tuple[str, ...]]) -> str:
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|---" * columns + "|", *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    print(page(), end="")
