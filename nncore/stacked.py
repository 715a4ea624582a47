"""Stub until nn."""
from __future__ import annotations
import numpy as np
from nncore.network import Predictor
class StackedPredictor:
    def __init__(self, layers, inputs, members):
        self._p=[Predictor(layers,inputs,m) for m in members]; self.count=len(self._p); self.dtype=self._p[0].dtype
    def predict_proba(self,x): return np.stack([p.predict_proba(x) for p in self._p])
