"""`Tensor`: a shared buffer, wherever it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from . import _library as library
from ._errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Index = Union[int, slice, None, "ellipsis"]  # noqa: F821

# Devices whose memory the host reads: CPU, CUDAHost, ROCMHost, CUDAManaged.
HOST = (1, 3, 11, 13)


class Tensor:
    """A buffer that somebody owns, described: address, shape, strides, dtype, device.

    Made by `from_dlpack`; every DLPack framework takes it through `__dlpack__`. It holds a reference to the owner,
    copies nothing, and its description never changes, so threads may share it.
    """

    __slots__ = ("__weakref__", "_handle")

    _handle: int

    def __init__(self) -> None:
        raise TypeError("Tensor() makes nothing; call dlbridge.from_dlpack(x)")

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed; hold one in an attribute instead")

    @classmethod
    def _adopt(cls, handle: int) -> Tensor:
        tensor = object.__new__(cls)
        tensor._handle = handle
        return tensor

    def __del__(self, release: Any = library.release) -> None:
        # `_handle` is missing after Tensor(), which raised; `release` is bound because globals may be gone at exit.
        handle = getattr(self, "_handle", None)
        if handle is not None:
            release(handle)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        view = library.view(self._handle)
        return tuple(view.shape[: view.ndim])

    @property
    def strides(self) -> tuple[int, ...]:
        """The steps along the dimensions, in elements (NumPy counts bytes)."""
        view = library.view(self._handle)
        return tuple(view.strides[: view.ndim])

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return int(library.view(self._handle).ndim)

    @property
    def dtype(self) -> str:
        """The name of the element type, as NumPy and ml_dtypes write it: `"float32"`, `"bfloat16"`."""
        return library.dtype_name(library.view(self._handle).dtype)

    @property
    def device(self) -> str:
        """Where the memory is: `"cpu"`, `"cuda:0"`."""
        return library.device_name(library.view(self._handle).device)

    @property
    def data_ptr(self) -> int:
        """The address of the first element; 0 where there is none."""
        return library.view(self._handle).data or 0

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(library.size(self._handle))

    @property
    def nbytes(self) -> int:
        """The bytes the elements fill when packed."""
        return int(library.nbytes(self._handle))

    @property
    def readonly(self) -> bool:
        """Whether nobody may write to the memory through this tensor."""
        return bool(library.flags(self._handle) & library.READ_ONLY)

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie packed in row-major (C) order."""
        return bool(library.is_contiguous(self._handle, b"C"))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no len(); its only element is tensor.numpy()[()]")
        return self.shape[0]

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Tensor:
        """A view: integers, slices with any step, `...` and `None`, as in NumPy's basic indexing."""
        items = index if isinstance(index, tuple) else (index,)
        named = sum(item is not None and item is not Ellipsis for item in items)
        if items.count(Ellipsis) > 1:
            raise InvalidArgumentError("an index can hold only one '...'; write ':' for single axes")
        result, axis = self, 0
        for item in items:
            if item is Ellipsis:
                axis += self.ndim - named
            elif item is None:
                result, axis = result._view(library.tensor_unsqueeze, axis), axis + 1
            elif isinstance(item, slice):
                result, axis = result._slice(axis, item), axis + 1
            else:
                result = result._view(library.tensor_select, axis, item.__index__())
        return result

    def _slice(self, axis: int, item: slice) -> Tensor:
        end = library.SLICE_END
        start, stop = (end if bound is None else bound for bound in (item.start, item.stop))
        return self._view(library.tensor_slice, axis, start, stop, 1 if item.step is None else item.step)

    def _view(self, function: Any, *arguments: Any) -> Tensor:
        return Tensor._adopt(library.make(function, self._handle, *arguments))

    def view(self, dtype: str) -> Tensor:
        """The same bytes as another dtype: `t.view("uint16")` shows bfloat16 to who does not know it. No copy."""
        return self._view(library.tensor_reinterpret, library.dtype_parse(dtype))

    def numpy(self) -> np.ndarray[Any, Any]:
        """A `numpy.ndarray` on the same memory: `dlbridge.to_numpy(self)`."""
        from ._convert import to_numpy

        return to_numpy(self)

    def torch(self) -> torch.Tensor:
        """A `torch.Tensor` on the same memory: `dlbridge.to_torch(self)`."""
        from ._convert import to_torch

        return to_torch(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's device type and id."""
        device = library.view(self._handle).device
        return device.device_type, device.device_id

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule with an export of this tensor, for any DLPack consumer. Nothing is copied.

        Versioned (DLPack 1.3) where `max_version` is (1, 0) or more, legacy where it is None or less: that one
        cannot say "read-only", so a read-only tensor raises `ReadOnlyError`, a `BufferError`.
        """
        if copy:
            raise UnsupportedError("copy=True is not handled; copy on your side, for example numpy.array(tensor)")
        _check_target(self.__dlpack_device__(), stream, dl_device)
        return library.capsule(self._handle, _wants_legacy(max_version))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """For `numpy.asarray(tensor)` (shares) and `numpy.array(tensor)` (copies)."""
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise UnsupportedError(
                    f"{array.dtype} cannot become {dtype} without a copy; drop copy=False, or drop dtype"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __repr__(self) -> str:
        readonly = ", read-only" if self.readonly else ""
        return f"dlbridge.Tensor(shape={self.shape}, dtype={self.dtype}, device={self.device}{readonly})"


def _wants_legacy(max_version: Any) -> bool:
    if max_version is None:
        return True
    if (
        isinstance(max_version, tuple)
        and len(max_version) == 2
        and all(isinstance(part, int) and not isinstance(part, bool) for part in max_version)
    ):
        return bool(max_version[0] < 1)
    raise TypeError(f"max_version is {max_version!r}; pass a tuple of two integers such as (1, 3), or None")


def _check_target(device: tuple[int, int], stream: Any, dl_device: Any) -> None:
    if dl_device is not None and tuple(dl_device) != device:
        raise UnsupportedError(
            f"the tensor is on device {device} and cannot be exported to {tuple(dl_device)}; "
            "leave dl_device out, or move it with the framework it came from"
        )
    if device[0] in HOST:
        if stream is not None:
            raise InvalidArgumentError(f"stream is {stream!r} for host memory, which has no streams; pass None")
    elif stream == 0:
        raise InvalidArgumentError("stream 0 is ambiguous; pass 1 for the legacy default stream, 2 for per-thread")
    elif stream not in (None, 1, -1):
        raise UnsupportedError(
            f"stream {stream!r} cannot be waited on; pass None or 1, or -1 and order the streams yourself"
        )
