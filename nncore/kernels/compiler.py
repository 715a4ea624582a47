"""The compiler: functions for the processor at hand from LLVM's text, kept for the rest of the process."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import MutableMapping
from functools import cache

import llvmlite.binding as llvm

from nncore.kernels.code import ENTRY

__all__ = ["address_of", "keep_in"]


#: Names what ``_optimize`` does, of which no object must be kept that was made in another way.
_OPTIONS = "1"


class _Compiler:
    """An engine with the functions that it has compiled."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._processor = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        self._lock = threading.Lock()
        self._addresses: dict[str, int] = {}
        self.objects: MutableMapping[str, bytes] = {}
        #: The object of the module that is being added, by the module's name, if there is one.
        self._known: dict[str, bytes] = {}
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._machine())
        self._engine.finalize_object()
        # LLVM asks for each module's object, and hands over the one that it makes if there is none.
        self._engine.set_object_cache(self._keep, lambda module: self._known.get(module.name))

    def address_of(self, text: str) -> int:
        with self._lock:
            if text not in self._addresses:
                self._addresses[text] = self._compiled(text)
            return self._addresses[text]

    def _machine(self) -> llvm.TargetMachine:
        name, features = self._processor
        return llvm.Target.from_default_triple().create_target_machine(cpu=name, features=features, opt=3, jit=True)

    def _keep(self, module: llvm.ModuleRef, made: bytes) -> None:
        self.objects[module.name] = bytes(made)

    def _compiled(self, text: str) -> int:
        made_of = [text, *self._processor, str(llvm.llvm_version_info), _OPTIONS]
        key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
        # All functions of an engine need names of their own.
        name = f"kernel_{key}"
        module = llvm.parse_assembly(text.replace(f'@"{ENTRY}"(', f'@"{name}"('))
        module.name = key
        known = self.objects.get(key)
        if known is None:
            module.verify()
            self._optimize(module)
        else:
            self._known[key] = known
        self._engine.add_module(module)
        self._engine.finalize_object()
        self._known.clear()
        address = int(self._engine.get_function_address(name))
        if not address:
            raise RuntimeError(f"the compiled object {key} has no function {name}")
        return address

    def _optimize(self, module: llvm.ModuleRef) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = True
        builder = llvm.create_pass_builder(self._machine(), options)
        builder.getModulePassManager().run(module, builder)


_lock = threading.Lock()


@cache
def _made() -> _Compiler:
    return _Compiler()


def _compiler() -> _Compiler:
    """The one compiler, whose code lives as long as the process."""
    with _lock:
        return _made()


def keep_in(objects: MutableMapping[str, bytes]) -> None:
    """Take compiled objects from ``objects``, and add those that are compiled from now on.

    A key is a SHA-256 of what decides an object: the text, the processor, LLVM's version and the way to compile.
    """
    _compiler().objects = objects


def address_of(text: str) -> int:
    """Return the address of the function of a module, which is compiled if it has not been yet."""
    return _compiler().address_of(text)
