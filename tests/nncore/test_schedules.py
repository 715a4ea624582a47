"""Schedules: properties, comparison with torch if torch has the schedule, and the state of adaptive ones."""

import copy
import json
import math

import numpy as np
import pytest

from nncore import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Dense,
    Exponential,
    InverseTime,
    Network,
    OneCycle,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    ReLU,
    Softmax,
    Step,
    Training,
)
from testing import cases
from tests.nncore.support import blobs

LENGTH = 10.0
TIMES = np.linspace(0.0, LENGTH, 2001).tolist()


def factors(schedule, times=TIMES, length=LENGTH):
    """The factors at some times of a run."""
    state = schedule.initial_state()
    return np.array([schedule.factor_at(time, length, state) for time in times])


def rises(values):
    return (np.diff(values) >= -1e-15).all()


def falls(values):
    return (np.diff(values) <= 1e-15).all()


def jumps(values):
    """Times at which neighbouring factors are far apart."""
    return [round(TIMES[index + 1], 9) for index in np.flatnonzero(np.abs(np.diff(values)) > 0.05)]


@pytest.mark.parametrize("schedule", cases.every(cases.SCHEDULES), ids=cases.label)
class TestEvery:
    """What holds for each of them."""

    def test_factors_are_finite_and_not_negative_at_any_time(self, schedule):
        for length in (0.0, 1e-9, 1.0, LENGTH, 1e7, math.inf):
            for time in (0.0, 1e-12, 0.5, 1.0, LENGTH, 12.5, 1e6, 1e7):
                factor = schedule.factor_at(time, length, schedule.initial_state())
                assert type(factor) is float
                assert math.isfinite(factor)
                assert factor >= 0.0

    def test_a_run_that_knows_nothing_yet_has_a_rate(self, schedule):
        assert math.isfinite(Adam(schedule=schedule).learning_rate_at(7))

    def test_warm_up_rises_in_a_straight_line_and_the_schedule_follows(self, schedule):
        warm = type(schedule)(**{**vars(schedule), "warmup": 4.0, "warmup_from": 0.2})
        plain = type(schedule)(**{**vars(schedule), "warmup": 0.0})
        times = np.linspace(0.0, 3.999, 50)
        np.testing.assert_allclose(factors(warm, times.tolist()), 0.2 + 0.8 * times / 4.0, rtol=1e-14)
        after = np.linspace(0.0, 6.0, 61).tolist()
        shifted = factors(warm, [4.0 + time for time in after])
        np.testing.assert_allclose(shifted, factors(plain, [4.0 + t - 4.0 for t in after], LENGTH - 4.0), atol=1e-12)

    def test_its_state_goes_through_json(self, schedule):
        state = schedule.initial_state()
        for value in (1.0, 0.5, math.nan, 0.5, math.inf, 0.6, 0.7, 1e300, 0.4):
            before = dict(state)
            after = schedule.observe(state, value)
            assert state == before
            assert json.loads(json.dumps(after, allow_nan=False)) == after
            assert after.keys() == state.keys()
            assert all(type(item) is float for item in after.values())
            state = after


class TestShapes:
    """What each is there for."""

    def test_constant(self):
        assert set(factors(Constant())) == {1.0}

    def test_inverse_time_is_halved_after_its_time(self):
        values = factors(InverseTime(0.5))
        assert values[0] == 1.0
        assert InverseTime(0.5).factor_at(2.0, LENGTH, {}) == 0.5
        assert falls(values)
        assert not jumps(values)

    def test_exponential_changes_by_gamma_an_epoch(self):
        values = factors(Exponential(0.9), range(11))
        np.testing.assert_allclose(values[1:] / values[:-1], 0.9, rtol=1e-14)
        assert not jumps(factors(Exponential(0.9)))

    def test_step_changes_every_so_many_epochs_and_not_between(self):
        values = factors(Step(2.5, gamma=0.5))
        assert sorted(set(values.tolist()), reverse=True) == [1.0, 0.5, 0.25, 0.125, 0.0625]
        assert [Step(2.5).factor_at(time, LENGTH, {}) for time in (2.4999, 2.5)] == [1.0, 0.1]
        assert falls(values)

    def test_piecewise_changes_at_its_boundaries(self):
        schedule = Piecewise((1.0, 3.5), (0.5, 2.0))
        assert factors(schedule, [0.0, 0.999, 1.0, 3.499, 3.5, 99.0]).tolist() == [1.0, 1.0, 0.5, 0.5, 2.0, 2.0]

    @pytest.mark.parametrize("duration", [None, 4.0])
    @pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
    def test_polynomial_falls_to_its_end(self, duration, power):
        values = factors(Polynomial(end=0.2, power=power, duration=duration))
        assert values[0] == pytest.approx(1.0, rel=1e-15)
        assert values[-1] == 0.2
        assert falls(values)
        half = Polynomial(end=0.2, power=power, duration=duration).factor_at((duration or LENGTH) / 2, LENGTH, {})
        assert half == pytest.approx(0.2 + 0.8 * 0.5**power)

    def test_cosine_falls_to_its_end_by_the_end_of_the_run(self):
        values = factors(Cosine(end=0.1))
        assert values[0] == 1.0
        assert values[-1] == 0.1
        assert values[len(values) // 2] == pytest.approx(0.55)
        assert falls(values)
        assert not jumps(values)

    def test_cosine_begins_anew_after_each_period(self):
        values = factors(Cosine(end=0.1, period=2.5))
        assert jumps(values) == [2.5, 5.0, 7.5, 10.0]
        assert factors(Cosine(period=2.5), [0.0, 2.5, 5.0, 7.5]).tolist() == [1.0] * 4
        assert falls(values[:500])

    def test_cosine_periods_grow(self):
        assert jumps(factors(Cosine(period=1.0, period_factor=2.0))) == [1.0, 3.0, 7.0]

    @pytest.mark.parametrize("factor", [1.0000001, 1.001, 1.1, 1.5, 2.0, 3.7])
    @pytest.mark.parametrize("period", [0.1, 0.3, 1.0])
    def test_cosine_is_1_at_each_restart_and_its_end_just_before(self, period, factor):
        schedule, start, length = Cosine(period=period, period_factor=factor), 0.0, period
        for _ in range(12):
            start, length = start + length, length * factor
            before = schedule.factor_at(start - 1e-7 * length, LENGTH, {})
            after = schedule.factor_at(start + 1e-7 * length, LENGTH, {})
            assert (before, after) == (pytest.approx(0.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))

    def test_one_cycle_rises_to_1_and_falls_to_its_end(self):
        schedule = OneCycle(start=0.1, rise=0.25, end=0.01)
        values, top = factors(schedule), 500
        assert values[0] == pytest.approx(0.1)
        assert values[top] == 1.0
        assert values[-1] == 0.01
        assert rises(values[: top + 1])
        assert falls(values[top:])
        assert not jumps(values)

    def test_a_plateau_of_more_than_patience_epochs_reduces_the_rate(self):
        schedule = ReduceOnPlateau(factor=0.5, patience=2, min_delta=0.1, minimum=0.2)
        state, seen = schedule.initial_state(), []
        for loss in [1.0, 0.5, 0.45, 0.41, 0.4001, 0.39, 0.5, 0.5, 0.5, *[0.5] * 9]:
            state = schedule.observe(state, loss)
            seen.append(schedule.factor_at(0.0, LENGTH, state))
        assert seen == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, *[0.25] * 2, *[0.2] * 7]

    def test_a_loss_that_is_no_number_is_no_fall(self):
        schedule = ReduceOnPlateau(factor=0.5, patience=0)
        state = schedule.observe(schedule.initial_state(), math.nan)
        assert schedule.factor_at(0.0, LENGTH, state) == 0.5
        state = schedule.observe(state, -5.0)
        assert (state["best"], state["factor"]) == (-5.0, 0.5)

    def test_the_optimizer_multiplies_by_it(self):
        rule = SGD(learning_rate=0.5, decay=0.1, schedule=Exponential(0.5))
        assert rule.learning_rate_at(10, 3.0, LENGTH, {}) == 0.5 * 0.125 / 2.0
        learned = SGD(learning_rate=0.5, schedule=ReduceOnPlateau())
        assert learned.learning_rate_at(10, 3.0, LENGTH, {"factor": 0.25}) == 0.125


@pytest.mark.parametrize("schedule", cases.every(cases.SCHEDULES), ids=cases.label)
def test_a_run_cut_anywhere_has_the_same_rates(schedule):
    """Rates and parameters of a run that is rebuilt from its state in the middle of every epoch."""
    x, y = blobs(30, 3, 3)

    def training(seed):
        network = Network([Dense(4), ReLU(), Dense(3), Softmax()], inputs=3, seed=seed, dtype="float64")
        return Training(network, x, y, optimizer=SGD(learning_rate=0.3, schedule=schedule), batch_size=8, epochs=9)

    whole, cut, rates, told = training(1), training(1), [], []
    for _ in range(9):
        rates.append(whole.run_epoch().learning_rate)
        answers = iter([False, False, True])
        assert cut.run_epoch(lambda answers=answers: next(answers)) is None
        again = training(2)
        again.network.parameters.fill_from(cut.network.parameters)
        again.restore(copy.deepcopy(cut.state()))
        cut = again
        told.append(cut.run_epoch().learning_rate)
    assert told == rates
    assert cut.network.parameters.vector.tobytes() == whole.network.parameters.vector.tobytes()
    assert cut.state().schedule == whole.state().schedule
    last = schedule.factor_at(8 + 24 / 30, 9.0, dict.fromkeys(schedule.initial_state(), 1.0))
    assert rates[-1] == 0.3 * last or type(schedule) is ReduceOnPlateau


def torch_factors(name, count, **options):
    """torch's factors at whole epochs, by one step of its scheduler each."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "name", "options"),
    [
        (Exponential(0.9), "ExponentialLR", {"gamma": 0.9}),
        (Step(7.0, gamma=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
        (Polynomial(duration=20.0), "PolynomialLR", {"total_iters": 20}),
        (Polynomial(power=2.5), "PolynomialLR", {"total_iters": 40, "power": 2.5}),
        (Cosine(end=0.1), "CosineAnnealingLR", {"T_max": 40, "eta_min": 0.1}),
        (Cosine(end=0.1, period=7.0), "CosineAnnealingWarmRestarts", {"T_0": 7, "eta_min": 0.1}),
        (Cosine(period=3.0, period_factor=2.0), "CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
        (Constant(warmup=8.0, warmup_from=0.25), "LinearLR", {"start_factor": 0.25, "total_iters": 8}),
    ],
    ids=cases.label,
)
def test_torch_has_the_same_factors(schedule, name, options):
    """At each of forty epochs, to 1e-12."""
    expected = torch_factors(name, 41, **options)
    np.testing.assert_allclose(factors(schedule, range(41), 40.0), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("steps", "share"), [(40, 0.3), (100, 0.05), (11, 0.5)])
def test_torch_has_the_same_cycle(steps, share):
    """torch counts both phases in steps, one less than given."""
    expected = torch_factors(
        "OneCycleLR", steps, max_lr=1.0, total_steps=steps, pct_start=share, div_factor=20.0, cycle_momentum=False
    )
    schedule = OneCycle(start=0.05, rise=(share * steps - 1) / (steps - 1), end=0.05 / 1e4)
    np.testing.assert_allclose(factors(schedule, range(steps), steps - 1.0), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_torch_reduces_on_the_same_plateaus(patience, delta):
    """Over losses that fall and stall, also if the state is saved and loaded after each epoch."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=delta, threshold_mode="abs", min_lr=0.01, eps=0.0
    )
    schedule = ReduceOnPlateau(factor=0.5, patience=patience, min_delta=delta, minimum=0.01)
    state = schedule.initial_state()
    rng = np.random.default_rng(3)
    for epoch in range(80):
        loss = float(np.exp(-epoch / 20) + 0.1 * rng.random())
        scheduler.step(loss)
        state = json.loads(json.dumps(schedule.observe(state, loss)))
        assert schedule.factor_at(float(epoch), 80.0, state) == optimizer.param_groups[0]["lr"]
    assert state["factor"] < 0.6
