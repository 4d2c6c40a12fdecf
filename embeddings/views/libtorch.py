"""PyTorch's C library without its Python package, which takes seconds to be imported: what a convolutional network needs.

The functions are those of the C interface that PyTorch keeps for programs compiled against another version (LibTorch Stable ABI:
`torch/csrc/stable/c/shim.h` and `torch/csrc/inductor/aoti_torch/c/shim.h`). They run the very kernels that `torch` runs, so the
numbers are the same, bit for bit (tests/embeddings/views/test_libtorch.py). CPU only.
"""

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_double, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# (h, w) int64 is handed on as an address and a number of values
_SIZES = (c_void_p, c_int64)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {  # name -> types of the arguments; all return 0 where all is well
    "aoti_torch_create_tensor_from_blob": (c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_int32, c_int32, c_int32, c_void_p),
    "aoti_torch_delete_tensor_object": (c_void_p,),
    "aoti_torch_new_tensor_handle": (c_void_p, c_void_p),
    "aoti_torch_get_data_ptr": (c_void_p, c_void_p),
    "aoti_torch_call_dispatcher": (c_char_p, c_char_p, c_void_p),
    "aoti_torch_cpu_add_Tensor": (c_void_p, c_void_p, c_double, c_void_p),
    "aoti_torch_cpu_convolution": (
        *(c_void_p, c_void_p, c_void_p, *_SIZES, *_SIZES, *_SIZES),  # input, weight, bias, stride, padding, dilation
        *(c_int32, *_SIZES, c_int64, c_void_p),  # transposed, its padding, groups, result
    ),
    "aoti_torch_cpu_max_pool2d_with_indices": (c_void_p, *_SIZES, *_SIZES, *_SIZES, *_SIZES, c_int32, c_void_p, c_void_p),
    "torch_get_num_threads": (c_void_p,),
}
_CPU = 0  # c10::DeviceType


class Library:
    """The library, loaded. All sizes are (n, height, width, channels): channels lie together in memory.

    Args:
        path: of ``libtorch_cpu.so``.

    Raises:
        OSError: it cannot be loaded.
        AttributeError: it lacks a function, or is another version's.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._openmp = ctypes.CDLL(str(path.with_name("libgomp.so.1")))
        for name, arguments in _FUNCTIONS.items():
            getattr(self._library, name).argtypes = arguments
        self._what = self._library.torch_exception_get_what_without_backtrace
        self._what.restype = c_char_p
        names = ("float32", "bfloat16")
        self._types = {name: int(getattr(self._library, f"aoti_torch_dtype_{name}")()) for name in names}

    def has_bfloat16(self) -> bool:
        """Whether the processor computes in bfloat16 itself."""
        stack = (c_uint64 * 1)()
        self._run("aoti_torch_call_dispatcher", b"mkldnn::_is_mkldnn_bf16_supported", b"", stack)
        return bool(stack[0] & 1)

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """The calling thread computes by itself meanwhile: who wants more cores uses more threads."""
        self._run("torch_get_num_threads", byref(c_uint32()))  # which sets the number once in each thread
        before = self._openmp.omp_get_max_threads()
        self._openmp.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._openmp.omp_set_num_threads(before)

    def tensor(self, array: NDArray[Any], precision: str) -> "Tensor":
        """An array as a tensor, without a copy.

        Args:
            array: (n, h, w, c) or (c,), contiguous; float32, or for ``bfloat16`` uint16 (see `bfloat16`).
            precision: ``float32`` or ``bfloat16``.
        """
        shape, strides = array.shape, [stride // array.itemsize for stride in array.strides]
        if array.ndim == 4:  # to PyTorch channels come second, wherever they lie
            shape, strides = (shape[0], shape[3], *shape[1:3]), [strides[0], strides[3], *strides[1:3]]
        where = (_int64(shape), _int64(strides), 0, self._types[precision], _CPU, 0)
        handle = self._made("aoti_torch_create_tensor_from_blob", array.ctypes.data, len(shape), *where)
        return Tensor(self, handle, array)

    def convolution(self, images: "Tensor", weights: "tuple[Tensor, Tensor]", stride: int, padding: int) -> "Tensor":
        """Convolution with square filters (out, h, w, in) and a bias (out,)."""
        filters, bias = weights
        how = (*_pair(stride), *_pair(padding), *_pair(1), 0, *_pair(0), 1)
        optional = byref(c_void_p(bias.handle))
        return Tensor(self, self._made("aoti_torch_cpu_convolution", images.handle, filters.handle, optional, *how))

    def relu(self, images: "Tensor") -> "Tensor":
        """No value below 0."""
        stack = (c_uint64 * 1)(self._made("aoti_torch_new_tensor_handle", images.handle))  # which the call takes over
        self._run("aoti_torch_call_dispatcher", b"aten::relu", b"", stack)
        return Tensor(self, int(stack[0]))

    def add(self, some: "Tensor", others: "Tensor") -> "Tensor":
        """The sum of two tensors of one shape."""
        return Tensor(self, self._made("aoti_torch_cpu_add_Tensor", some.handle, others.handle, 1.0))

    def max_pool(self, images: "Tensor") -> "Tensor":
        """The largest of each 3 x 3 pixels, at every second one."""
        handle, places = c_void_p(), c_void_p()
        how = (*_pair(3), *_pair(2), *_pair(1), *_pair(1), 0)
        self._run("aoti_torch_cpu_max_pool2d_with_indices", images.handle, *how, byref(handle), byref(places))
        Tensor(self, int(places.value or 0))  # nobody needs the places
        return Tensor(self, int(handle.value or 0))

    def values(self, tensor: "Tensor", shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        """A copy of the values of a tensor whose channels lie together, as an array of this shape."""
        address = self._made("aoti_torch_get_data_ptr", tensor.handle)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape)

    def _made(self, name: str, *arguments: Any) -> int:
        """What a function gives as its last argument: an address."""
        result = c_void_p()
        self._run(name, *arguments, byref(result))
        return int(result.value or 0)

    def _run(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise RuntimeError(f"PyTorch: {(self._what() or b'').decode(errors='replace').strip()}")


class Tensor:
    """A tensor of the library, freed with this object.

    Attributes:
        handle: address of the library's object.
    """

    def __init__(self, library: Library, handle: int, array: NDArray[Any] | None = None) -> None:
        self.handle = handle
        weakref.finalize(self, _free, library, handle, array)


def _free(library: Library, handle: int, array: NDArray[Any] | None) -> None:
    """Free a tensor; its memory, where that is an array's, until now."""
    library._library.aoti_torch_delete_tensor_object(handle)


@cache
def library() -> Library | None:
    """The library of the PyTorch that is installed; None where it is of another kind (Linux has this one)."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return None
    try:
        return Library(Path(found.origin).parent / "lib" / "libtorch_cpu.so")
    except (OSError, AttributeError):
        return None


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Finite values in bfloat16, as their bits: the nearest, of two as near the even one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.asarray((bits + 0x7FFF + (bits >> 16 & 1)) >> 16, np.uint16)


def float32(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def _pair(size: int) -> tuple[Any, int]:
    return _int64((size, size)), 2


def _int64(values: Sequence[int]) -> Any:
    return (c_int64 * len(values))(*values)
