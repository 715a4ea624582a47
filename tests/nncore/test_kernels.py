"""Compiled kernels give what the NumPy plan gives: every operation, every member of nncore's tables, whole runs."""

import ctypes
import importlib.util
import sys
import threading
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy._core._multiarray_umath import __cpu_features__

from nncore import SGD, Adam, AdamW, Dense, Dropout, FocalLoss, LayerNorm, Network, ReLU, Softmax, Tanh, Training
from nncore.arrays import Workspace
from nncore.batches import MatrixRows, gathered, with_ones
from nncore.kernels import compiler, loops, program
from nncore.kernels.choice import kernels
from nncore.kernels.elementwise import ELEMENTWISE
from nncore.kernels.kinds import available_kinds
from nncore.kernels.program import compiled
from testing import cases
from tests.nncore.support import blobs, examples

#: Whether NumPy evaluates exp and log of float32 with fused multiply-adds, as compiled code does everywhere.
FUSED = bool(__cpu_features__.get("X86_V3", __cpu_features__.get("FMA3")))  # the name since NumPy 2.4, and before
#: Units in the last place by which a step may differ if NumPy does not.
CLOSE = 0 if FUSED else 2

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, -1e-45, 1e-38, 3e38, -3e38, np.inf, -np.inf, np.nan, 88.7, -103.9, -87.5]


def same(one, other, ulps=CLOSE):
    """Whether two arrays have the same numbers, NaN included, up to some units in the last place."""
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    none = np.isnan(one)
    if not np.array_equal(none, np.isnan(other)):
        return False
    whole = f"i{one.itemsize}"
    # Equal numbers of either sign are as far apart as their bits, read as ordered integers.
    bits = one.view(whole), other.view(whole)
    if not ulps:
        return np.array_equal(bits[0][~none], bits[1][~none])
    ordered = [np.where(each < 0, np.iinfo(whole).min - each, each).astype(object) for each in bits]
    return bool((np.abs(ordered[0] - ordered[1])[~none] <= ulps).all())


def run(calls):
    with np.errstate(all="ignore"):
        for call in calls:
            call()


def is_compiled(calls):
    """Whether nothing of NumPy is called."""
    return len(calls) == 1 and not isinstance(calls[0].func, np.ufunc) and hasattr(calls[0], "kept")


def values(dtype, count, seed):
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "i":
        return generator.integers(-9, 9, count).astype(dtype)
    found = generator.normal(size=count) * 10.0 ** generator.integers(-6, 6, count)
    found[: len(SPECIAL)] = generator.permutation(SPECIAL)[:count]
    with np.errstate(over="ignore"):
        return found.astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name, (_, dtypes) in ELEMENTWISE.items() for dtype in sorted(dtypes)]
)
def test_every_operation_has_the_bits_of_numpy(name, dtype):
    """On ordinary and special numbers, at every length about that of a vector register."""
    function = getattr(np, name, None) if name != "copy" else None
    inputs = 1 if function is None else function.nin
    for count in (*range(1, 40), 1000):
        arrays = [values(dtype, count, seed) for seed in range(inputs)]
        outputs = [np.zeros(count, bool if name == "equal" else dtype) for _ in range(2)]
        calls = [
            partial(np.copyto, out, arrays[0]) if function is None else partial(function, *arrays, out=out)
            for out in outputs
        ]
        made = compiled(calls[:1])
        assert is_compiled(made)
        run([*made, calls[1]])
        assert same(*outputs), (count, arrays, outputs)


@given(st.data())
@examples
def test_any_calls_on_overlapping_arrays_do_what_they_did_one_by_one(data):
    """Views of one memory that share some elements, transposed, repeated and broadcast: the order of calls counts."""
    size = 64
    start = np.random.default_rng(0).normal(size=size).astype(np.float32)
    memories = [start.copy(), start.copy()]

    def view(shape):
        rows, columns = shape
        kind = data.draw(st.sampled_from(["rows", "transposed", "row", "column", "number"]))
        offset = data.draw(st.integers(0, size - rows * columns - 8))
        found = []
        for memory in memories:
            part = memory[offset : offset + rows * columns]
            found.append(
                {
                    "rows": part.reshape(shape),
                    "transposed": part.reshape(columns, rows).T,
                    "row": part[:columns],
                    "column": part[:rows, np.newaxis],
                    "number": part[:1].reshape(()),
                }[kind]
            )
        return found

    shape = data.draw(st.sampled_from([(1, 12), (3, 4), (4, 3), (6, 2), (2, 1)]))
    calls = [[], []]
    for _ in range(data.draw(st.integers(1, 7))):
        function = data.draw(st.sampled_from([np.add, np.multiply, np.maximum, np.subtract]))
        offset = data.draw(st.integers(0, size - 12))
        outputs = [memory[offset : offset + shape[0] * shape[1]].reshape(shape) for memory in memories]
        inputs = [view(shape) for _ in range(2)]
        for index in range(2):
            calls[index].append(partial(function, inputs[0][index], inputs[1][index], out=outputs[index]))
    run(calls[0])
    run(compiled(calls[1]))
    assert same(*memories, ulps=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 127, 128, 129, 300, 1000, 12_345])
def test_a_sum_adds_in_the_order_of_numpy(dtype, count):
    """Pairwise, so that the last bit is the same."""
    numbers, totals = np.random.default_rng(count).normal(size=count).astype(dtype), np.zeros((2, 1), dtype)
    calls = [partial(np.add.reduce, numbers, out=total.reshape(())) for total in totals]
    made = compiled(calls[:1])
    assert is_compiled(made)
    run([*made, calls[1]])
    assert totals[0] == totals[1] != 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (10, 128), (7, 300), (300, 2), (129, 3)])
def test_what_is_not_elementwise(dtype, shape):
    """Reductions, the largest, taking and putting by index."""
    rng = np.random.default_rng(1)
    matrix, columns = rng.normal(size=shape).astype(dtype), shape[1]
    labels = rng.integers(0, shape[0], columns)
    ends = []
    for make in (lambda calls: calls, compiled):
        rows, largest, total = np.zeros((3, columns), dtype)
        index, flat = np.zeros(columns, np.int64), matrix.copy().reshape(-1)
        place = labels * columns + np.arange(columns)
        calls = make(
            [
                partial(np.maximum.reduce, flat.reshape(shape), axis=0, out=largest),
                partial(np.add.reduce, flat.reshape(shape), axis=0, out=total),
                partial(flat.reshape(shape).argmax, axis=0, out=index),
                partial(flat.take, place, out=rows, mode="clip"),
                partial(flat.__setitem__, place, total),
            ]
        )
        assert make is not compiled or is_compiled(calls)
        run(calls)
        ends.append([rows, largest, total, index, flat])
    assert all(same(one, other, ulps=0) for one, other in zip(*ends, strict=True))


def test_rows_are_taken_into_rows_of_another_width():
    """An index beyond the rows is that of the nearest row, as "clip" means."""
    matrix, chosen = np.random.default_rng(0).normal(size=(9, 4)), np.array([8, 0, 3, 77, -5])
    outs = np.full((2, 5, 6), 7.0)
    calls = [partial(matrix.take, chosen, axis=0, out=out[:, :4], mode="clip") for out in outs]
    made = compiled(calls[:1])
    assert is_compiled(made)
    run([*made, calls[1]])
    assert np.array_equal(*outs)
    assert (outs[0][:, 4:] == 7).all()


def test_the_sum_of_a_single_column_is_left_to_numpy():
    """It adds that pairwise, and the columns of others one row after the other."""
    column, total = np.random.default_rng(0).normal(size=(70, 1)), np.zeros(1)
    calls = [partial(np.add.reduce, column, axis=0, out=total)]
    assert compiled(calls) == calls


@pytest.mark.parametrize(
    ("first", "second"),
    [((3, 4), (4, 5)), ((1, 4), (4, 5)), ((3, 1), (1, 5)), ((3, 4), (4, 1)), ((40, 30), (30, 20))],
)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_numpy(first, second, turned, dtype):
    """Of matrices as they are and transposed, of a part of a matrix, and of vectors, which stay NumPy's."""
    rng = np.random.default_rng(0)

    def operand(shape, is_turned):
        wide = rng.normal(size=(shape[1], shape[0] + 2) if is_turned else (shape[0], shape[1] + 2)).astype(dtype)
        return wide[:, :-2].T if is_turned else wide[:, :-2]

    a, b = operand(first, turned[0]), operand(second, turned[1])
    outs = np.zeros((2, first[0], second[1]), dtype)
    run(compiled([partial(np.matmul, a, b, out=outs[0])]))
    np.matmul(a, b, out=outs[1])
    assert outs[0].tobytes() == outs[1].tobytes()


def test_the_product_of_a_matrix_with_itself_is_left_to_numpy():
    """It calls another function for that."""
    a, out = np.random.default_rng(0).normal(size=(5, 7)), np.zeros((5, 5))
    calls = [partial(np.matmul, a, a.T, out=out)]
    assert compiled(calls) == calls


def test_calls_that_cannot_be_compiled_keep_their_place():
    """In the middle of others, whatever they are."""
    x, y = np.linspace(-1, 1, 9), np.zeros(9)
    calls = [
        partial(np.multiply, x, x, out=y),
        partial(np.tanh, y, out=y),
        y.sort,
        partial(np.add, y, x, out=y),
        partial(np.add, y, 1.0, out=y),  # a Python number
        partial(np.multiply, y, x, out=y, where=x > 0),
    ]
    expected = np.sort(np.tanh(x * x)) + x + 1.0
    made = compiled(calls)
    assert [each in calls for each in made] == [False, True, True, False, True, True]
    run(made)
    np.testing.assert_array_equal(y, np.where(x > 0, expected * x, expected))


def test_dead_arrays_are_not_written_unless_something_reads_them():
    """And all others are."""
    x, scratch, y = np.arange(1.0, 9.0), np.zeros(8), np.zeros(8)
    double, add = partial(np.add, x, x, out=scratch), partial(np.multiply, scratch, x, out=y)
    run(compiled([double, add], [scratch]))
    assert (scratch == 0).all()
    assert np.array_equal(y, 2 * x * x)
    run(compiled([double, add, partial(np.tanh, scratch, out=x)], [scratch]))
    assert np.array_equal(scratch, 2 * np.arange(1.0, 9.0))
    run(compiled([double, add]))
    assert np.array_equal(scratch, 2 * x)


REFUSED = {
    "a number": lambda out: partial(np.copyto, out, 1.5),
    "a list of places": lambda out: partial(out.__setitem__, [1, 2, 3], np.ones(3)),
    "a number for all places": lambda out: partial(out.__setitem__, np.array([1, 2, 3]), np.ones(1)),
    "a longer out": lambda out: partial(np.arange(9.0).take, np.array([1, 2, 3]), out=out, mode="clip"),
    "a narrower out": lambda out: partial(
        np.ones((4, 4)).take, np.array([0, 1]), axis=0, out=out.reshape(2, 4)[:, :3], mode="clip"
    ),
    "a longer depth": lambda out: partial(np.matmul, np.ones((2, 3)), np.ones((4, 4)), out=out.reshape(2, 4)),
    "a wider input": lambda out: partial(np.add, np.ones((2, 8)), np.ones(8), out=out),
    "another order of bytes": lambda out: partial(np.add, np.ones(8, ">f8"), np.ones(8, ">f8"), out=out),
    "a reduction by another function": lambda out: partial(np.equal.reduce, np.ones((2, 8)), axis=0, out=out),
    "every other place of the largest": lambda out: partial(
        np.ones((2, 4)).argmax, axis=0, out=out.view(np.int64)[::2]
    ),
    "places as a keyword": lambda out: partial(np.take, np.ones(8), indices=np.arange(8), out=out, mode="clip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_calls_with_other_arguments_are_left_to_numpy(name):
    """Which converts them, or refuses them."""
    call = REFUSED[name](np.zeros(8))
    assert compiled([call]) == [call]


def test_what_must_not_be_written_is_left_to_numpy():
    """It refuses to."""
    out = np.zeros(8)
    out.setflags(write=False)
    call = partial(np.add, np.ones(8), np.ones(8), out=out)
    assert compiled([call]) == [call]


def test_a_negative_place_counts_from_the_end():
    """As NumPy counts."""
    ends = np.zeros((2, 5))
    calls = [partial(end.__setitem__, np.array([-1, 0, -5, 3]), np.arange(1.0, 5.0)) for end in ends]
    made = compiled(calls[:1])
    assert is_compiled(made)
    run([*made, calls[1]])
    assert np.array_equal(*ends)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_zeros_of_reductions(dtype):
    """The first NaN is the largest, and no sum is -0.0."""
    matrix = np.array([[1, -0.0, 5, -0.0], [np.nan, -0.0, np.nan, 0.0], [np.nan, -0.0, 7, -0.0]], dtype)
    vector, empty = np.full(4, -0.0, dtype), np.zeros(0, dtype)
    ends = []
    for make in (lambda calls: calls, compiled):
        sums, largest, totals = np.full(4, 9, dtype), np.zeros(4, np.int64), np.full(2, 9, dtype)
        calls = [
            partial(np.add.reduce, matrix, axis=0, out=sums),
            partial(matrix.argmax, axis=0, out=largest),
            partial(np.add.reduce, vector, out=totals[0:1].reshape(())),
            partial(np.add.reduce, empty, out=totals[1:2].reshape(())),
        ]
        made = make(calls)
        assert make is not compiled or is_compiled(made)
        run(made)
        ends.append([sums, largest, totals])
    assert all(same(one, other, ulps=0) for one, other in zip(*ends, strict=True))


def test_many_elementwise_calls_in_a_row_are_compared_in_proportion(monkeypatch):
    """With those of their own loop, which is not too long to be compiled."""
    compared = []
    monkeypatch.setattr(loops, "overlap", lambda *pair: compared.append(pair) or loops_overlap(*pair))
    loops_overlap, counts = program.overlap, []
    for count in (100, 400):
        x, y, expected = np.linspace(0, 1, 50), np.zeros(50), np.zeros(50)
        compared.clear()
        made = compiled([partial(np.add, y, x, out=y), partial(np.multiply, y, x, out=y)] * count)
        counts.append(len(compared))
        run(made)
        for _ in range(count):
            expected = (expected + x) * x
        assert np.array_equal(y, expected)
    assert 0 < counts[1] < 5 * counts[0]


def test_constant_arrays_are_not_read():
    """Their number is part of the code."""
    workspace = Workspace("float32")
    zeros = workspace.filled(0.0, (8,))
    x, y = np.arange(-4, 4, dtype=np.float32), np.zeros(8, np.float32)
    calls = compiled([partial(np.maximum, x, zeros, out=y)], (), workspace.constants)
    zeros.fill(9)
    run(calls)
    assert np.array_equal(y, np.maximum(x, 0))


def trained(kind, layers, x, y, dtype="float32", epochs=2, **options):
    network = Network(layers, inputs=x.shape[1], dtype=dtype, seed=2)
    training = Training(network, x, y, kernels=kind, seed=4, **options)
    records = [training.run_epoch() for _ in range(epochs)]
    moments = [array for vector in training.state().moments.values() for array in vector.values()]
    figures = np.array([[record.loss, record.accuracy] for record in records])
    return [network.parameters.vector, network.statistics.vector, *moments, figures]


def assert_same_run(layers, x, y, **options):
    both = [trained(kind, layers, x, y, **options) for kind in ("numpy", "llvm")]
    for one, other in zip(*both, strict=True):
        if FUSED:
            assert same(one, other, ulps=0)
        else:  # Several steps amplify what one step differs by.
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", cases.every(cases.LAYERS), ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_with_every_layer(layer, dtype):
    """Batches that do not divide the rows, in both precisions."""
    assert_same_run([Dense(9), layer, Dense(3), Softmax()], *blobs(50, 4, 3), dtype=dtype, batch_size=16)


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_with_every_optimizer(rule, dtype):
    """With every member of the table, however its update is set."""
    assert_same_run([Dense(9), ReLU(), Dense(3), Softmax()], *blobs(50, 4, 3), dtype=dtype, optimizer=rule)


@pytest.mark.parametrize("loss", cases.every(cases.LOSSES), ids=cases.label)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_run_with_every_loss(loss, classes):
    """With weights of rows, for two classes, whose reductions are other calls, and for more."""
    x, y = blobs(50, 4, classes)
    weights = np.linspace(0, 2, 50)
    assert_same_run([Dense(9), ReLU(), Dense(classes), Softmax()], x, y, loss=loss, weights=weights)


@pytest.mark.parametrize("batch_size", [7, 50, "full"])
def test_a_run_of_much(batch_size):
    """Noise, penalties, constraints, rates, a moving average, clipping and accumulated batches."""
    layers = [
        Dense(70, l1=1e-3, l2=1e-3, max_norm=1.0, rate=0.5),
        LayerNorm(),
        Tanh(),
        Dropout(0.3),
        Dense(3),
        Softmax(),
    ]
    rule = AdamW(average=0.9, clip_norm=1.0, accumulate=2, decay_biases=False)
    assert_same_run(layers, *blobs(50, 4, 3), optimizer=rule, loss=FocalLoss(), batch_size=batch_size)


@pytest.mark.parametrize("rule", [Adam(), SGD(momentum=0.9)], ids=cases.label)
def test_threads_change_no_bit(rule, monkeypatch):
    """They share a compiled update as they share the calls."""
    x, y = blobs(40, 3, 3)
    alone = trained("llvm", [Dense(70), ReLU(), Dense(3), Softmax()], x, y, optimizer=rule)
    monkeypatch.setattr("nncore.updates.ALONE", 10)
    shared = trained("llvm", [Dense(70), ReLU(), Dense(3), Softmax()], x, y, optimizer=rule, threads=3)
    assert all(np.array_equal(one, other) for one, other in zip(alone, shared, strict=True))


@pytest.mark.parametrize("hidden", [(64,), (64, 64), (20, 30, 40)])
@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_a_step_of_dense_layers_is_two_compiled_calls(hidden, rule):
    """The gather of the batch with forward pass, loss and backward pass; and the update."""
    x, y = blobs(60, 4, 3)
    layers = [layer for units in hidden for layer in (Dense(units), ReLU())]
    network = Network([*layers, Dense(3), Softmax()], inputs=4)
    training = Training(network, x, y, optimizer=rule, batch_size=20, kernels="llvm")
    assert is_compiled(training._current.calls)
    assert is_compiled(training._updates._shares[0])
    assert len(training._updates._shares) == 1
    assert not training._updates._after


def test_a_gather_is_part_of_the_step():
    """Of the rows of a matrix."""
    source = MatrixRows(with_ones(np.arange(12.0).reshape(6, 2), np.dtype(np.float32)))
    out = np.ones((3, 3), np.float32)
    chosen = np.array([5, 0, 5])
    calls = compiled(source.gather_calls(chosen, out))
    assert is_compiled(calls)
    run(calls)
    assert np.array_equal(out, gathered(source, chosen))


def test_threads_that_begin_at_once_share_a_compiler(monkeypatch):
    """Its code must live as long as any of their programs."""
    made = []
    create = compiler._Compiler.__init__
    monkeypatch.setattr(compiler._Compiler, "__init__", lambda self: (made.append(self), create(self))[1])
    monkeypatch.setattr(compiler, "_made", cache(compiler._Compiler))
    barrier, found = threading.Barrier(4), []

    def begin():
        barrier.wait()
        found.append(compiler._compiler())

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(each is made[0] for each in found)


class TestObjects:
    """What is compiled, kept for other processes."""

    def compile(self, objects, number):
        """What a function that stores a number stores, from a new compiler, as that of another process."""
        made = compiler._Compiler()
        made.objects = objects
        text = f'define void @"kernel"(ptr %a) {{\n store i64 {number}, ptr %a\n ret void\n}}'
        result = np.zeros(1, np.int64)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address_of(text))(result.ctypes.data)
        return int(result[0])

    def test_they_are_taken_from_there(self, monkeypatch):
        objects = {}
        assert self.compile(objects, 41) == 41
        (key,) = objects
        assert len(key) == 64
        monkeypatch.setattr(compiler._Compiler, "_optimize", lambda self, module: pytest.fail("compiled again"))
        assert self.compile(objects, 41) == 41
        assert list(objects) == [key]

    def test_other_code_has_another_key(self):
        objects = {}
        assert [self.compile(objects, number) for number in (41, 42, 41)] == [41, 42, 41]
        assert len(objects) == 2


def test_without_llvmlite_there_are_numpys_kernels(monkeypatch):
    """And asking for the others fails at once."""
    monkeypatch.setattr("nncore.kernels.kinds.find_spec", lambda name: None)
    assert available_kinds() == ("numpy",)
    monkeypatch.setattr("nncore.kernels.kinds.find_spec", importlib.util.find_spec)
    for found in ("0.44.0", "0.9.1"):
        monkeypatch.setattr("nncore.kernels.kinds.version", lambda name, found=found: found)
        assert available_kinds() == ("numpy",)
    monkeypatch.setitem(sys.modules, "nncore.kernels.program", None)
    with pytest.raises(ImportError):
        kernels("llvm")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (8, 8), (16, 9), (33, 130)])
def test_columns_are_copied_to_rows(dtype, shape):
    """In tiles, and what is left over."""
    rows, columns = shape
    values = np.random.default_rng(0).normal(size=(columns, rows + 3)).astype(dtype)[:, :-3].T
    out = np.zeros((rows, columns + 2), dtype)
    calls = compiled([partial(np.copyto, out[:, :-2], values)])
    assert is_compiled(calls)
    run(calls)
    assert np.array_equal(out[:, :-2], values)
    assert (out[:, -2:] == 0).all()
