"""The table of cases of features, and an outside oracle for each: pandas and scikit-learn instead of this project.

A member of ``FEATURES`` or ``SCALES`` without a case here fails ``tests/models/features/test_features.py``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from models.data.columns import MISSING_TIME, Column, ColumnKind, ColumnSpec
from models.data.table import MemoryTable
from models.features.category import Boolean, Category
from models.features.features import Feature, Ignored
from models.features.moment import Datetime
from models.features.number import Number
from models.features.text import Text
from nncore.arrays import Array

__all__ = ["CASES", "FeatureCase", "column_of", "expected_of", "table_of"]

#: Makes the numbers of all rows (first) from those that were fitted on (second).
Oracle = Callable[[pd.Series, pd.Series], Array]


@dataclass(frozen=True)
class FeatureCase:
    """A feature, and what pandas and scikit-learn make of its column."""

    feature: Feature
    oracle: Oracle


def _filled(
    every: pd.Series, fitted: pd.Series, strategy: str, scaled: Callable[[Array, Array], Array], before: Any = None
) -> Array:
    """A number: imputed, transformed, scaled, and a last column that says if it was missing."""
    x, known = (np.asarray(each, float)[:, None] for each in (every, fitted))
    if np.isnan(known).all():
        filler = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True).fit(known)
    else:
        filler = {
            "median": SimpleImputer(strategy="median"),
            "mean": SimpleImputer(strategy="mean"),
            "zero": SimpleImputer(strategy="constant", fill_value=0.0),
        }[strategy].fit(known)
    present = known[~np.isnan(known).ravel()]
    present = present if len(present) else np.zeros((1, 1))
    change = before or (lambda values: values)
    numbers = scaled(change(filler.transform(x)), change(present))
    if not np.isnan(known).any():
        return numbers
    return np.hstack([numbers, MissingIndicator(features="all").fit(known).transform(x)])


def _standard(x: Array, known: Array) -> Array:
    scaler = StandardScaler().fit(known)
    if np.ptp(known) == 0:
        scaler.scale_ = np.ones(1)
    return np.asarray(scaler.transform(x))


def _robust(x: Array, known: Array) -> Array:
    low, middle, high = np.percentile(known, [25, 50, 75])
    spread = high - low if high > low else known.std()
    return (x - middle) / (spread or 1.0)


def _soft_clipped(every: pd.Series, fitted: pd.Series, bins: int = 0) -> Array:
    """A number as the paper on RealMLP bends it and, beside it, as the paper on number embeddings cuts it."""
    known = fitted.dropna()
    gaps = len(known) < len(fitted)
    if known.empty or (known.nunique() == 1 and not gaps):
        return np.zeros((len(every), 0))
    median, others = known.median(), known[known != known.median()]
    quartiles = known.quantile([0.25, 0.75]).diff().iloc[1]
    distance = 1.0 if others.empty else (others - median).abs().median()
    z = (every - median) / (quartiles or distance)
    columns = [z.fillna(0.0) / np.sqrt(1 + (z.fillna(0.0) / 3) ** 2)]
    for low, high in pairwise(_edges(known, bins)) if bins else ():
        # If no value is missing in the training rows, a missing one is their median.
        columns.append(((every - low) / (high - low)).clip(0, 1).fillna(0 if gaps else np.nan))
        columns[-1] = columns[-1].fillna(np.clip((median - low) / (high - low), 0, 1))
    return np.stack([*columns, *([every.isna()] if gaps else [])], axis=1).astype(float)


def _edges(known: pd.Series, bins: int) -> list[float]:
    """Where the bins of known values begin and end."""
    shares = known.value_counts()
    if len(shares) <= bins + 1:
        return sorted(shares.index) if len(shares) > 2 else []
    heavy = list(shares.index[shares * bins >= len(known)])
    rest = known[~known.isin(heavy)]
    cuts = np.quantile(rest, np.linspace(0, 1, max(2, bins - len(heavy)) + 1), method="nearest")
    return sorted({known.min(), *heavy, *cuts.tolist(), known.max()})


def _normal(x: Array, known: Array) -> Array:
    count = min(1000, max(len(known), 2))
    both = np.vstack([known, known]) if len(known) == 1 else known
    rule = QuantileTransformer(n_quantiles=count, output_distribution="normal", subsample=None).fit(both)
    return np.asarray(rule.transform(x))


def _intervals(x: Array, known: Array) -> Array:
    edges = np.unique(np.quantile(known, np.linspace(0, 1, 17)))
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + 1])
    columns = []
    for place, (low, high) in enumerate(pairwise(edges.tolist())):
        share = (x[:, 0] - low) / (high - low)
        if place > 0:
            share = np.where(x[:, 0] < low, 0.0, share)
        if place < len(edges) - 2:
            share = np.where(x[:, 0] >= high, 1.0, share)
        columns.append(share)
    return np.stack(columns, axis=1)


def _log(values: Array) -> Array:
    return np.sign(values) * np.log1p(np.abs(values))


def _signed(every: pd.Series, fitted: pd.Series) -> Array:
    """One-hot columns, or one column if there are just two levels."""
    if fitted.nunique(dropna=False) != 2 or fitted.isna().any():
        return _one_hot(every, fitted)
    first, second = sorted(fitted.unique())
    return np.asarray(every.map({first: -1.0, second: 1.0}).fillna(0.0), float)[:, None]


def _one_hot(
    every: pd.Series,
    fitted: pd.Series,
    minimum: int = 1,
    levels: Sequence[str] | None = None,
    most: int | None = None,
) -> Array:
    """One-hot columns: sorted levels, then one for the rare and unseen ones, then one for missing values."""
    known = fitted.dropna()
    counts = known.value_counts()
    frequent = sorted(counts.index[counts >= minimum], key=lambda level: (-counts[level], level))[:most]
    kept = sorted(frequent) if levels is None else list(levels)
    rare = len(known) > known.isin(kept).sum()
    names: list[str] = [*kept, *(["\0rare"] if rare else []), *(["\0gap"] if fitted.isna().any() else [])]
    if not names:
        return np.zeros((len(every), 0))
    gap = "\0gap" if fitted.isna().any() else "\0rare"
    words = every.map(lambda word: gap if pd.isna(word) else word if word in kept else "\0rare").astype(object)
    encoder = OneHotEncoder(categories=[names], handle_unknown="ignore", sparse_output=False)
    return np.asarray(encoder.fit(np.array(names, object)[:, None]).transform(words.to_numpy()[:, None]))


def _truth(every: pd.Series, fitted: pd.Series) -> Array:
    numbers = every.map(lambda value: float(value is True))
    parts = [numbers, *([every.isna()] if fitted.isna().any() else [])]
    return np.stack([np.asarray(part, float) for part in parts], axis=1)


def _moment(every: pd.Series, fitted: pd.Series) -> Array:
    def parts(times: pd.Series) -> dict[str, pd.Series]:
        return {
            "elapsed": (times - pd.Timestamp(0)) / pd.Timedelta(days=1),
            "year": times.dt.year.astype(float),
            "month": times.dt.month - 1.0,
            "weekday": times.dt.day_of_week.astype(float),
            "hour": (times - times.dt.normalize()) / pd.Timedelta(hours=1),
        }

    periods = {"month": 12, "weekday": 7, "hour": 24}
    own, known, columns = parts(every), parts(fitted.dropna()), list[Any]()
    for name, values in own.items():
        if known[name].nunique() < 2:
            continue
        if name in periods:
            angle = 2 * np.pi * values / periods[name]
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns.append((values - known[name].mean()) / known[name].std(ddof=0))
    block = np.array([np.where(every.isna(), 0.0, np.asarray(column, float)) for column in columns])
    numbers = block.reshape(len(columns), len(every)).T
    return np.hstack([numbers, every.isna().to_numpy()[:, None]]) if fitted.isna().any() else numbers


def _hashed(every: pd.Series, _fitted: pd.Series, buckets: int) -> Array:
    """Words and their 3-grams counted in a dictionary, then put into buckets by the CRC-32 of zlib."""
    out = np.zeros((len(every), buckets))
    for row, text in enumerate(every):
        for word in re.findall(r"\w+", "" if pd.isna(text) else text.lower()):
            grams = [f" {word} "[start : start + 3] for start in range(len(word))]
            for term in [word, *grams]:
                code = zlib.crc32(term.encode("utf-8"))
                bucket = (((code >> 1) * 2654435761) % 2**32) * buckets // 2**32
                out[row, bucket] += -1.0 if code % 2 else 1.0
    norms = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(norms == 0, 1.0, norms)


CASES: dict[str, FeatureCase] = {
    "number": FeatureCase(Number("x"), lambda x, known: _filled(x, known, "median", _standard)),
    "number, mean": FeatureCase(Number("x", missing="mean"), lambda x, known: _filled(x, known, "mean", _standard)),
    "number, zero": FeatureCase(Number("x", missing="zero"), lambda x, known: _filled(x, known, "zero", _standard)),
    "robust": FeatureCase(Number("x", scale="robust"), lambda x, known: _filled(x, known, "median", _robust)),
    "robust_clip": FeatureCase(Number("x", scale="robust_clip"), _soft_clipped),
    "robust_bins": FeatureCase(Number("x", scale="robust_bins"), lambda x, known: _soft_clipped(x, known, 16)),
    "robust_bins, few": FeatureCase(
        Number("x", scale="robust_bins", bins=4), lambda x, known: _soft_clipped(x, known, 4)
    ),
    "quantile": FeatureCase(Number("x", scale="quantile"), lambda x, known: _filled(x, known, "median", _normal)),
    "piecewise_linear": FeatureCase(
        Number("x", scale="piecewise_linear"), lambda x, known: _filled(x, known, "median", _intervals)
    ),
    "log": FeatureCase(Number("x", scale="log"), lambda x, known: _filled(x, known, "median", _standard, _log)),
    "none": FeatureCase(Number("x", scale="none"), lambda x, known: _filled(x, known, "median", lambda x, _: x)),
    "category": FeatureCase(Category("x"), _one_hot),
    "category, rare": FeatureCase(Category("x", min_count=3), lambda x, known: _one_hot(x, known, 3)),
    "category, some": FeatureCase(
        Category("x", max_levels=2, min_count=2), lambda x, known: _one_hot(x, known, 2, most=2)
    ),
    "category, signed": FeatureCase(Category("x", signed=True), _signed),
    "category, given": FeatureCase(
        Category("x", levels=("c", "a")), lambda x, known: _one_hot(x, known, levels=("c", "a"))
    ),
    "boolean": FeatureCase(Boolean("x"), _truth),
    "datetime": FeatureCase(Datetime("x"), _moment),
    "text": FeatureCase(Text("x", buckets=16), lambda x, known: _hashed(x, known, 16)),
    "ignore": FeatureCase(Ignored("x"), lambda x, _: np.zeros((len(x), 0))),
}


def column_of(series: pd.Series, kind: ColumnKind) -> Column:
    """A pandas column as this project's values."""
    gaps = series.isna().to_numpy()
    match kind:
        case "number":
            return Column(kind, series.to_numpy(float))
        case "boolean":
            codes = [-1 if gap else int(bool(value)) for gap, value in zip(gaps, series, strict=True)]
            return Column(kind, np.array(codes, np.int8), ("false", "true"))
        case "category":
            codes, levels = pd.factorize(series)
            return Column(kind, codes.astype(np.int32), tuple(levels))
        case "datetime":
            moments = series.astype("datetime64[us]").to_numpy().astype(np.int64)
            return Column(kind, np.where(gaps, MISSING_TIME, moments))
    texts = ["" if gap else value for gap, value in zip(gaps, series, strict=True)]
    return Column(kind, np.array(texts, object))


def table_of(**columns: tuple[pd.Series, ColumnKind]) -> MemoryTable:
    """A table of pandas columns, each with its kind."""
    values = {name: column_of(series, kind) for name, (series, kind) in columns.items()}
    specs = tuple(ColumnSpec(name, column.kind, column.levels) for name, column in values.items())
    return MemoryTable(len(next(iter(values.values())).values), specs, values)


def expected_of(case: FeatureCase, series: pd.Series, rows: Array) -> Array:
    """What the oracle makes of all rows if it is fitted on ``rows``."""
    return np.asarray(case.oracle(series, series.iloc[rows]), float)
