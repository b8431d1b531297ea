//! Typed access to elements on the host: the checks that let a pointer be used.
//!
//! The memory of a tensor is shared, with other tensors and often with other languages, so a plain borrow of it is
//! `unsafe`: only the program knows who else is at it. Two cases the library can prove by itself, and lends without
//! `unsafe`: memory that nobody can write to, and memory that nobody else has.
//!
//! Neither borrow outlives its tensor, and while the second lasts no other reference can be made:
//!
//! ```compile_fail,E0505
//! let tensor = dlbridge::Tensor::from_owner(&[1_i32, 2], &[2]).unwrap();
//! let values = tensor.get::<i32>().unwrap();
//! drop(tensor);
//! assert_eq!(values[0], 1);
//! ```
//!
//! ```compile_fail,E0502
//! let mut tensor = dlbridge::Tensor::from_vec(vec![1_i32, 2], &[2]).unwrap();
//! let values = tensor.get_mut::<i32>().unwrap();
//! let other = tensor.clone();
//! values[0] = 7;
//! ```

use super::{Access, Element, Reach, TakeError, Tensor, device, dtype, layout};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result};
use dlpark::DlpackFlags;
use std::ffi::c_void;

/// Why memory that came from elsewhere is not lent.
const LENT: &str = "the memory was lent by somebody who may use it too";

/// Why memory of an allocator is not lent, and what is.
const UNWRITTEN: (&str, &str) = (
    "the memory may have no values yet",
    "make it with Tensor::zeros(), or write all of it and call as_slice() or as_mut_slice()",
);

impl Tensor {
    /// The address of the first element, for reading it as `asked`.
    ///
    /// Refused: memory the host cannot read, another dtype, a dtype whose code is unknown, a misaligned address.
    /// The elements lie where shape and strides say. NULL where the tensor is empty.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// use dlbridge::tensor::dtype;
    ///
    /// let tensor = Tensor::from_vec(vec![1.5_f64, 2.5], &[2])?;
    /// let first = tensor.data_as(dtype::F64)?.cast::<f64>();
    /// // SAFETY: the tensor is alive, and nobody writes.
    /// assert_eq!(unsafe { first.add(1).read() }, 2.5);
    /// assert!(tensor.data_as(dtype::F32).is_err());
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn data_as(&self, asked: DLDataType) -> Result<*const c_void> {
        let have = self.dtype();
        if !dtype::is_known(have) {
            return Err(Error::UnknownDtype { dtype: dtype::Name(have).to_string() });
        }
        self.check_dtype(asked)?;
        if !device::is_host(self.device()) {
            return Err(Error::NotHost { device: device::Name(self.device()).to_string() });
        }
        let (address, alignment) = (self.data() as usize, dtype::alignment(have));
        if !address.is_multiple_of(alignment) {
            return Err(Error::Misaligned { address, alignment, dtype: dtype::Name(have).to_string() });
        }
        self.settle(Access::Read)?;
        Ok(self.data())
    }

    /// The address of the first element, for writing it as `asked`.
    ///
    /// Refused besides what [`Tensor::data_as`] refuses: a read-only tensor, and strides that may let several
    /// indices share one element: those that no order of the dimensions nests.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// use dlbridge::tensor::dtype;
    ///
    /// let tensor = Tensor::from_vec(vec![1_i32, 2], &[2])?;
    /// let first = tensor.data_mut_as(dtype::I32)?.cast::<i32>();
    /// // SAFETY: the tensor is alive, and nobody else reads or writes.
    /// unsafe { first.write(7) };
    /// assert_eq!(tensor.into_vec::<i32>()?, [7, 2]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn data_mut_as(&self, asked: DLDataType) -> Result<*mut c_void> {
        self.check_mutable("tensor")?;
        let data = self.data_as(asked)?;
        self.settle(Access::Write)?;
        Ok(data.cast_mut())
    }

    /// Refuses a dtype that is not the tensor's.
    pub(crate) fn check_dtype(&self, asked: DLDataType) -> Result<()> {
        let have = self.dtype();
        if asked == have {
            return Ok(());
        }
        let [have, asked] = [have, asked].map(|dtype| dtype::Name(dtype).to_string());
        Err(Error::DtypeMismatch { have, asked })
    }

    /// Refuses read-only tensors, and strides that may let several indices share one element. `what` is the tensor to whom
    /// asked.
    pub(crate) fn check_mutable(&self, what: &'static str) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { what });
        }
        if layout::may_overlap(self.shape(), self.strides()) {
            return Err(Error::Overlapping {
                shape: self.shape().to_vec(),
                strides: self.strides().to_vec(),
            });
        }
        Ok(())
    }

    /// The addresses from the lowest byte of an element to one past the highest; equal where there is no element.
    pub(crate) fn addresses(&self) -> (usize, usize) {
        // Most tensors: their size is known, so nothing has to be measured, which a copy of a kilobyte would feel.
        if self.is_row_major() {
            let start = self.data() as usize;
            return (start, start + self.nbytes());
        }
        let extent = layout::measure(self.shape(), Some(self.strides()), dtype::item_bits(self.dtype()));
        let (low, high) = extent.map_or((0, 0), |extent| (extent.low, extent.high));
        let at = |offset: i64| (self.data() as usize).wrapping_add_signed(offset as isize);
        (at(low), at(high))
    }

    /// The elements as a slice, where nobody can write to them: the tensor came from [`Tensor::from_owner`],
    /// [`Tensor::freeze`] or a shared ndarray array.
    ///
    /// Refused besides what [`Tensor::data_as`] refuses: elements that do not lie packed in row-major order, and all
    /// other memory. That is for [`Tensor::get_mut`] or, with `unsafe`, [`Tensor::as_slice`].
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let primes: &'static [i64] = &[2, 3, 5, 7];
    /// let tensor = Tensor::from_owner(primes, &[2, 2])?;
    /// assert_eq!(tensor.select(0, 1)?.get::<i64>()?, [5, 7]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn get<T: Element>(&self) -> Result<&[T]> {
        self.data_as(T::DTYPE)?;
        self.check_immutable()?;
        // SAFETY: checked: nobody writes.
        unsafe { self.as_slice() }
    }

    /// The elements as a mutable slice, where nobody else can reach them: this is the last reference to memory that
    /// came from [`Tensor::from_vec`], [`Tensor::from_owner_mut`], [`Tensor::zeros`] or an ndarray array, or to what
    /// [`copy::new`](crate::copy::new), [`copy::cast`](crate::copy::cast) or [`copy::stack`](crate::copy::stack) made.
    ///
    /// Refused besides what [`Tensor::data_mut_as`] refuses: elements that do not lie packed in row-major order, while
    /// another tensor, view or export is alive, memory that was imported or wrapped, and that of [`Tensor::empty`], which
    /// may have no values. With `unsafe` there is [`Tensor::as_mut_slice`].
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let mut tensor = Tensor::from_vec(vec![1, 2, 3], &[3])?;
    /// tensor.get_mut::<i32>()?[0] = 7;
    /// let view = tensor.slice(0, Some(1), None, 1)?;
    /// assert!(tensor.get_mut::<i32>().is_err(), "the view sees the elements too");
    /// drop(view);
    /// assert_eq!(tensor.get_mut::<i32>()?, [7, 2, 3]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn get_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        self.data_as(T::DTYPE)?;
        self.check_exclusive("an exclusive borrow")?;
        // SAFETY: nobody but this tensor reaches the memory, and while it is borrowed mutably no other can be made.
        unsafe { self.as_mut_slice() }
    }

    /// The same tensor, read-only from now on: nobody can write to the memory any more, so [`Tensor::get`] lends it, to
    /// any number of threads.
    ///
    /// It is for what is filled by one and read by many. Refused where others reach the memory, or it may have no values
    /// yet, as [`Tensor::get_mut`] is; the error hands the tensor back. A view freezes all of its memory: nobody else has it.
    ///
    /// ```
    /// use dlbridge::{Tensor, tensor::dtype};
    ///
    /// let mut table = Tensor::zeros(&[2, 2], dtype::F32)?;
    /// table.get_mut::<f32>()?.copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
    /// let table = table.freeze()?;
    /// let sum = |row| -> dlbridge::Result<f32> { Ok(table.select(0, row)?.get::<f32>()?.iter().sum()) };
    /// let sums = std::thread::scope(|scope| [0, 1].map(|row| scope.spawn(move || sum(row)).join().unwrap()));
    /// assert_eq!(sums, [Ok(3.0), Ok(7.0)]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn freeze(mut self) -> std::result::Result<Tensor, TakeError> {
        if self.inner().reach == Reach::Readers {
            return Ok(self);
        }
        if let Err(error) = self.check_exclusive("freezing it") {
            return Err(TakeError { error, tensor: self });
        }
        // SAFETY: the last reference, so nobody looks at the block meanwhile.
        let inner = unsafe { self.0.as_mut() };
        inner.reach = Reach::Readers;
        inner.flags |= DlpackFlags::READ_ONLY;
        Ok(self)
    }

    /// Refuses memory that anybody may write to. The rest was taken as if by a shared borrow that lasts as long as its
    /// owner does, and the read-only flag, which no view and no export loses, binds everybody to it.
    pub(crate) fn check_immutable(&self) -> Result<()> {
        let (why, remedy) = match self.inner().reach {
            Reach::Readers => return Ok(()),
            Reach::Nobody => (
                "others may write to the memory",
                "call get_mut() or freeze() on the last reference, or as_slice(), where you promise that nobody does",
            ),
            Reach::Unwritten => UNWRITTEN,
            Reach::Unknown => (LENT, "call as_slice(), where you promise that nobody writes to it"),
        };
        Err(Error::NotExclusive { action: "a shared borrow", why: why.into(), remedy })
    }

    /// Refuses memory that anybody else may reach: through another reference, view or export, or without a tensor.
    pub(crate) fn check_exclusive(&self, action: &'static str) -> Result<()> {
        // A copy that goes on holds references, which it has dropped when it is done.
        self.settle(Access::Write)?;
        let (why, remedy) = match self.inner().reach {
            Reach::Nobody if self.is_last() => return Ok(()),
            Reach::Nobody => {
                let remedy = "drop the other tensors, views and exports first, or copy: as_slice()?.to_vec()";
                ("the memory is still in use elsewhere", remedy)
            }
            Reach::Readers => {
                ("others may read the memory", "read it with get(), or copy the elements: get()?.to_vec()")
            }
            Reach::Unwritten => UNWRITTEN,
            Reach::Unknown => (LENT, "copy the elements: as_slice()?.to_vec()"),
        };
        Err(Error::NotExclusive { action, why: why.into(), remedy })
    }

    /// The elements as a slice, where they lie packed in row-major order.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1, 2, 3], &[3])?;
    /// // SAFETY: nobody else has the tensor.
    /// assert_eq!(unsafe { tensor.as_slice::<i32>() }?, [1, 2, 3]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The memory is what the tensor says, which is its producer's word. Nobody writes to it while the slice is in
    /// use: not through another tensor, not from Python, not from C.
    pub unsafe fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let data = self.data_as(T::DTYPE)?;
        self.check_row_major()?;
        if data.is_null() {
            return Ok(&[]);
        }
        // SAFETY: `data` is aligned and holds `size` elements of T, which the tensor keeps alive; that
        // it is there and nobody writes is promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts(data.cast(), self.size()) })
    }

    /// The elements as a mutable slice, where they lie packed in row-major order.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1, 2, 3], &[3])?;
    /// let last = tensor.slice(0, Some(2), None, 1)?;
    /// // SAFETY: one thread, and no other slice is in use.
    /// unsafe { last.as_mut_slice::<i32>() }?.fill(0);
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { tensor.as_slice::<i32>() }?, [1, 2, 0]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The memory is what the tensor says, which is its producer's word. Nobody else reads or writes it while the
    /// slice is in use: not through another tensor or another slice, not from Python, not from C.
    #[allow(
        clippy::mut_from_ref,
        reason = "the tensor is a shared handle; exclusivity is the caller's promise"
    )]
    pub unsafe fn as_mut_slice<T: Element>(&self) -> Result<&mut [T]> {
        let data = self.data_mut_as(T::DTYPE)?;
        self.check_row_major()?;
        if data.is_null() {
            return Ok(&mut []);
        }
        // SAFETY: as for `as_slice`; exclusive use is promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), self.size()) })
    }

    pub(super) fn check_row_major(&self) -> Result<()> {
        if self.is_row_major() {
            return Ok(());
        }
        Err(Error::NotContiguous { shape: self.shape().to_vec(), strides: self.strides().to_vec() })
    }
}
