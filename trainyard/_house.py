"""Where the project's own packages are: in a wheel in ``trainyard/house``, in a checkout beside this package.

In a wheel they are not at the top level, since other distributions use their names there.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["HOUSE", "enter", "load", "version"]

_HERE = Path(__file__).resolve().parent
#: The folder that holds nncore, models and service.
HOUSE = _HERE / "house" if (_HERE / "house").is_dir() else _HERE.parent


def enter() -> None:
    """Put the packages on the path of this process: for the command alone, whose process is its own."""
    if str(HOUSE) not in sys.path:
        sys.path.insert(0, str(HOUSE))


def load(name: str) -> ModuleType:
    """One of the packages, by its name, without the others becoming importable.

    Raises ImportError if a package of another distribution has been imported under that name.
    """
    place = HOUSE / name / "__init__.py"
    known = sys.modules.get(name)
    if known is not None:
        if Path(str(known.__file__)).resolve() != place:
            raise ImportError(f"the name {name} is taken by {known.__file__}", name=name)
        return known
    spec = importlib.util.spec_from_file_location(name, place, submodule_search_locations=[str(place.parent)])
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no {place}", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def version() -> str:
    """The version of this distribution, which nncore states."""
    found = re.search(r'^__version__ = "(.+)"$', (HOUSE / "nncore" / "__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise ImportError("nncore states no version")
    return found[1]
