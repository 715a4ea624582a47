"""The contestants of the training step benchmark; ``python -m benchmarks.contestants`` is a contestant's process.

All contestants train the same network on the same random data with Adam: float32, ReLU between dense layers, and a
softmax at the end. A contestant is a function that prepares everything and returns a function that runs a number of
epochs. It imports its library after the process is pinned to its cores, because several libraries set the size of their
thread pool when they are imported.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple


class Workload(NamedTuple):
    """A network, its data and its batches."""

    rows: int
    sizes: tuple[int, ...]
    batch: int

    @property
    def steps(self) -> int:
        """Number of batches per epoch; all are full."""
        return self.rows // self.batch

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Number of inputs and outputs of each dense layer."""
        return list(itertools.pairwise(self.sizes))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    def data(self) -> tuple[Any, Any]:
        """Return normally distributed inputs and random labels."""
        import numpy as np

        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.rows, self.sizes[0]), dtype=np.float32)
        return x, generator.integers(0, self.sizes[-1], self.rows)


WORKLOADS = {
    "spiral": Workload(300, (2, 64, 3), 300),
    "tabular": Workload(4096, (30, 64, 64, 2), 32),
    "mnist-128": Workload(8192, (784, 128, 10), 128),
    "mnist-512": Workload(8192, (784, 512, 512, 10), 128),
    "wide": Workload(8192, (784, 2048, 2048, 10), 256),
}

Run = Callable[[int], object]

#: Length of a round; an epoch that takes longer is one round.
ROUND_SECONDS = 0.5
#: Minimum number of steps per JAX call, so that the overhead of the call is negligible.
SCANNED_STEPS = 32


def this_core(workload: Workload, threads: int, kernels: Literal["numpy", "llvm"] = "numpy") -> Run:
    """``nncore.train`` as in a job of the service, including shuffling and metrics."""
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = "10"  # As service/jobs/trainer.py sets it.
    from nncore import train

    epochs = train(
        network(workload),
        *workload.data(),
        epochs=sys.maxsize,
        batch_size=workload.batch,
        threads=threads,
        kernels=kernels,
    )

    def run(count: int) -> None:
        for _ in itertools.islice(epochs, count):
            pass

    return run


def network(workload: Workload) -> Any:
    """Return the workload's network in nncore."""
    from nncore import Dense, Network, ReLU, Softmax

    layers: list[Any] = []
    for units in workload.sizes[1:-1]:
        layers += [Dense(units), ReLU()]
    return Network([*layers, Dense(workload.sizes[-1]), Softmax()], inputs=workload.sizes[0])


def bare_products(workload: Workload, threads: int) -> Run:
    """The matrix products of an nncore step alone, on the same memory."""
    import numpy as np

    from nncore.arrays import NamedVector, Workspace
    from nncore.plan import BatchPlan

    built = network(workload)
    gradients = NamedVector.zeros(built.parameters.shapes, built.dtype)
    plan = BatchPlan(built, gradients, workload.batch, Workspace(built.dtype), np.random.default_rng(0))
    plan.rows[:, :-1] = workload.data()[0][: workload.batch]
    plan.labels[:] = 0
    plan.run()
    calls = [call for call in plan.calls if getattr(call, "func", None) is np.matmul]

    def run(count: int) -> None:
        for _ in range(count * workload.steps):
            for call in calls:
                call()

    return run


def scikit_learn(workload: Workload, threads: int) -> Run:
    """``MLPClassifier`` without its L2 penalty."""
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")  # It warns that it has not converged, which does not matter here.
    x, y = workload.data()
    model = MLPClassifier(workload.sizes[1:-1], alpha=0.0, batch_size=workload.batch, tol=0.0, random_state=0)
    classes = list(range(workload.sizes[-1]))

    def run(count: int) -> None:
        if count == 1:
            model.partial_fit(x, y, classes=classes)
        else:  # Every call of ``partial_fit`` checks all data; ``fit`` checks it once for all epochs.
            model.set_params(max_iter=count, n_iter_no_change=count + 1)
            model.fit(x, y)

    return run


def torch(workload: Workload, threads: int) -> Run:
    """PyTorch in eager mode, with its fused Adam."""
    import torch
    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = map(torch.from_numpy, workload.data())
    modules: list[Any] = []
    for inputs, outputs in workload.layers:
        modules += [Linear(inputs, outputs), ReLU()]
    model = Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def run(count: int) -> None:
        for _ in range(count):
            for chosen in torch.randperm(workload.rows).split(workload.batch):
                loss = cross_entropy(model(x.index_select(0, chosen)), y.index_select(0, chosen))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return run


def jax(workload: Workload, threads: int) -> Run:
    """A compiled scan over the steps of an epoch, or of several epochs if an epoch has few steps."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    generator = np.random.default_rng(0)
    x, y = map(jnp.asarray, workload.data())
    parameters = [
        (jnp.asarray(generator.normal(0, (2 / i) ** 0.5, (i, o)), jnp.float32), jnp.zeros(o, jnp.float32))
        for i, o in workload.layers
    ]

    def mean_loss(parameters: Any, x: Any, y: Any) -> Any:
        for number, (weights, bias) in enumerate(parameters):
            x = (jnp.maximum(x, 0) if number else x) @ weights + bias
        # The same as optax's softmax_cross_entropy_with_integer_labels.
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()

    def adam(parameter: Any, gradient: Any, momentum: Any, cache: Any, step: Any) -> Any:
        momentum = 0.9 * momentum + 0.1 * gradient
        cache = 0.999 * cache + 0.001 * gradient**2
        rate = 0.001 / (1 - 0.9**step)
        parameter -= rate * momentum / (jnp.sqrt(cache / (1 - 0.999**step)) + 1e-8)
        return parameter, momentum, cache

    def one_step(data: Any, state: Any, chosen: Any) -> Any:
        parameters, momenta, caches, step = state
        loss, gradients = jax.value_and_grad(mean_loss)(parameters, data[0][chosen], data[1][chosen])
        step += 1
        updated = jax.tree.map(lambda *arrays: adam(*arrays, step), parameters, gradients, momenta, caches)
        parameters, momenta, caches = jax.tree.transpose(jax.tree.structure(parameters), None, updated)
        return (parameters, momenta, caches, step), loss

    @partial(jax.jit, donate_argnums=0)
    def compiled(state: Any, data: Any, order: Any) -> Any:
        return jax.lax.scan(partial(one_step, data), state, order)

    zeros = partial(jax.tree.map, jnp.zeros_like, parameters)
    state = parameters, zeros(), zeros(), jnp.zeros((), jnp.float32)

    def scan(epochs: int) -> None:
        nonlocal state
        # NumPy's permutation is much faster than JAX's, which sorts.
        order = np.concatenate([generator.permutation(workload.rows).astype(np.int32) for _ in range(epochs)])
        state, _ = compiled(state, (x, y), order.reshape(-1, workload.batch))

    together = -(-SCANNED_STEPS // workload.steps)
    for epochs in {1, together}:  # Compiles both lengths.
        scan(epochs)

    def run(count: int) -> None:
        for epochs in [together] * (count // together) + [1] * (count % together):
            scan(epochs)
        jax.block_until_ready(state)

    return run


CONTESTANTS: dict[str, Callable[[Workload, int], Run]] = {
    "this core": this_core,
    "this core, compiled": partial(this_core, kernels="llvm"),
    "bare products": bare_products,
    "scikit-learn": scikit_learn,
    "torch": torch,
    "jax": jax,
}


def _epochs_a_round(run: Run) -> int:
    """Return the number of epochs that fill a round. The trial epochs also warm up caches and compilers."""
    run(1)
    epochs = 1
    while True:
        begin = time.perf_counter()
        run(epochs)
        seconds = time.perf_counter() - begin
        if seconds > ROUND_SECONDS / 8:
            return max(1, round(epochs * ROUND_SECONDS / seconds))
        epochs *= 2


def main() -> None:
    """Print "ready", then the microseconds per step of one round for each line of standard input."""
    contestant, name, threads, cores = sys.argv[1:]
    os.sched_setaffinity(0, map(int, cores.split(",")))
    run = CONTESTANTS[contestant](WORKLOADS[name], int(threads))
    epochs = _epochs_a_round(run)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run(epochs)
        print((time.perf_counter() - begin) / (epochs * WORKLOADS[name].steps) * 1e6, flush=True)


if __name__ == "__main__":
    main()
