"""Reading metrics in the text format of Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["samples"]


def samples(text: bytes) -> dict[str, float]:
    """The value of each sample, by its name with its labels in their order: ``name{label="value"}``."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation, family
        assert family.type != "unknown", family
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            series = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert series not in found, series
            found[series] = sample.value
    return found
