"""Memory ordering for arrays that two threads share.

numba compiles plain array access to plain loads and stores, which the compiler and an arm64 core may reorder. These
intrinsics emit LLVM's atomic instructions instead. They take a one-dimensional C-contiguous int64 array and an index.
"""

from typing import Any

import numpy as np
from numba.core import types
from numba.np import arrayobj

from media.jit import intrinsic

Int64Array = np.ndarray[Any, np.dtype[np.int64]]


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(arrayobj.make_array(array_type)(context, builder, array).data, [index])


def _check(array: Any, index: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == types.int64 and isinstance(index, types.Integer)


@intrinsic
def load_acquire(_typing: Any, array: Any, index: Any) -> Any:
    """`array[index]`; no later access of this thread is done before it."""
    if not _check(array, index):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def store_release(_typing: Any, array: Any, index: Any, _value: Any) -> Any:
    """`array[index] = value`; every earlier access of this thread is done before it."""
    if not _check(array, index):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), codegen


@intrinsic
def full_fence(_typing: Any) -> Any:
    """Order every access before against every access after (sequentially consistent fence).

    Needed where a thread stores one flag and then loads another (the sleep/wake-up handshake of the worker):
    acquire and release alone let the load pass the store.
    """

    def codegen(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), codegen


__all__ = ["full_fence", "load_acquire", "store_release"]
