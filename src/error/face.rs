//! Whose names errors use for what to call instead.

/// Whose names the words use for what to call instead: `dlb_tensor_empty()`, `dlbridge.empty()`, `Tensor::empty()`.
///
/// A Rust program needs it only where its own callers are in C or in Python: `Display` of an [`Error`](crate::Error) is
/// [`Face::Rust`].
///
/// ```
/// use dlbridge::{Face, Tensor};
///
/// let rows = Tensor::from_vec(vec![1, 2, 3, 4], &[2, 2])?;
/// let error = rows.permute(&[1, 0])?.reshape(&[4]).unwrap_err();
/// assert!(error.to_string().contains("copy::new()"));
/// assert!(error.words(Face::C).to_string().contains("dlb_tensor_copy()"));
/// # Ok::<(), dlbridge::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Callers of the C API, from any language.
    C,
    /// Callers of the Python package.
    Python,
    /// Callers of the crate.
    Rust,
}

impl Face {
    /// One of the three.
    pub(super) const fn pick<T: Copy>(self, c: T, python: T, rust: T) -> T {
        match self {
            Face::C => c,
            Face::Python => python,
            Face::Rust => rust,
        }
    }

    /// The argument that asks for a casting of this name.
    pub(super) fn casting(self, name: &str) -> String {
        match self {
            Face::C => format!("DLB_CASTING_{}", name.to_uppercase()),
            Face::Python => format!("casting=\"{name}\""),
            Face::Rust => {
                let capitals = |word: &str| word[..1].to_uppercase() + &word[1..];
                format!("Casting::{}", name.split('_').map(capitals).collect::<String>())
            }
        }
    }

    /// The argument that asks for a layout of this name.
    pub(super) fn layout(self, name: &str) -> String {
        match self {
            Face::C => format!("DLB_LAYOUT_{name}"),
            Face::Python => format!("\"{name}\""),
            Face::Rust => format!("Layout::{}{}", &name[..1], name[1..].to_lowercase()),
        }
    }

    /// The call that adds an axis.
    pub(super) const fn unsqueeze(self) -> &'static str {
        self.pick("dlb_tensor_unsqueeze()", "x[None]", "Tensor::unsqueeze()")
    }

    /// The call that repeats elements over a larger shape.
    pub(super) const fn expand(self) -> &'static str {
        self.pick("dlb_tensor_expand()", "numpy.broadcast_to()", "Tensor::expand()")
    }

    /// The call that makes a row-major copy.
    pub(super) const fn copy(self) -> &'static str {
        self.pick("dlb_tensor_copy()", "x.copy()", "copy::new()")
    }

    /// The call that converts into a new tensor.
    pub(super) const fn cast(self) -> &'static str {
        self.pick("dlb_tensor_cast()", "dlbridge.cast(x, dtype)", "copy::cast()")
    }

    /// The call that gives the bytes another dtype.
    pub(super) const fn reinterpret(self) -> &'static str {
        self.pick("dlb_tensor_reinterpret()", "x.view(dtype)", "Tensor::reinterpret()")
    }
}
