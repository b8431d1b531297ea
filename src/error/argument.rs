//! Which argument of a Python call an error is about, where that is not `x`: the array that is refused, or `out`.

use super::{Error, Face, Kind, Refusal, Stack, Transfer};
use std::fmt;

/// An argument, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Argument {
    /// An array; the cause is in words of an `x`.
    Array {
        name: &'static str,
        cause: Box<Error>,
    },
    /// `out` cannot be written to; one of this shape and dtype can.
    Out {
        cause: Box<Error>,
        shape: Vec<i64>,
        dtype: String,
    },
    /// What `out` holds, and the casting that is needed where the default refuses.
    CopyDtype {
        have: String,
        out: String,
        casting: Option<&'static str>,
    },
    CastDtype {
        asked: String,
        out: String,
        shape: Vec<i64>,
    },
    StackDtype {
        have: String,
        out: String,
        casting: Option<&'static str>,
    },
}

impl Argument {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        match self {
            Argument::Array { cause, .. } | Argument::Out { cause, .. } => cause.kind(),
            _ => Kind::InvalidArgument,
        }
    }

    /// What is wrong with the argument, where that is an error of its own.
    pub(crate) fn cause(&self) -> Option<&Error> {
        match self {
            Argument::Array { cause, .. } | Argument::Out { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let casting =
            |given: &Option<&str>| given.map_or_else(String::new, |name| format!(", casting={name:?}"));
        match self {
            Argument::Array { name, cause } => {
                f.write_str(&of_argument(&cause.words(face).to_string(), name))
            }
            Argument::Out { cause, shape, dtype } => {
                f.write_str(&about_out(cause, face))?;
                match shares(cause) {
                    Some(call) => write!(f, "; pass {call}"),
                    None => {
                        write!(f, "; pass out=dlbridge.empty({shape:?}, {dtype:?}), or an array like that")
                    }
                }
            }
            Argument::CopyDtype { have, out, casting: needed } => write!(
                f,
                "x holds {have} and out {out}, and a copy does not convert; call dlbridge.cast(x, {out:?}{}, out=out)",
                casting(needed)
            ),
            Argument::CastDtype { asked, out, shape } => write!(
                f,
                "dtype is {asked} and out holds {out}; pass dtype={out:?}, or out=dlbridge.empty({shape:?}, {asked:?})"
            ),
            Argument::StackDtype { have, out, casting: needed } => {
                write!(f, "{have} and out holds {out}; pass dtype={out:?}{} to cast", casting(needed))
            }
        }
    }
}

/// Words about an `x`, about another argument.
pub(super) fn of_argument(words: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    let mut rest = words;
    let mut renamed = String::new();
    while let Some(at) = rest.find('x') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let alone = !before.ends_with(is_word) && !after.starts_with(is_word);
        renamed.push_str(before);
        renamed.push_str(if alone { name } else { "x" });
        rest = after;
    }
    renamed + rest
}

/// What is wrong with `out`.
fn about_out(cause: &Error, face: Face) -> String {
    match cause {
        Error::ReadOnly { .. } => "out is read-only".into(),
        Error::Overlapping { shape, strides } => {
            format!(
                "several indices of out, of shape {shape:?} and strides {strides:?}, may share one element"
            )
        }
        Error::NotHost { device } => format!("out is on {device}, and results are written on the host"),
        Error::Transfer(Transfer::Device { device, .. } | Transfer::NotHost { device, .. }) => {
            format!("out is on {device}, and results are written on the host")
        }
        Error::Transfer(Transfer::Shapes { source, destination, .. }) => {
            format!("out has shape {destination:?} and x has {source:?}")
        }
        Error::Stack(Stack::Destination { have, need, .. }) => {
            format!("out has shape {have:?} and the batch has {need:?}")
        }
        Error::Transfer(Transfer::Overlap { .. }) => "out shares memory with x".into(),
        Error::Stack(Stack::Array { index, .. }) => format!("out shares memory with array {index}"),
        Error::NotAnArray { type_name } => format!("out is of type {type_name}, which is no array"),
        cause => {
            let words = cause.words(face).to_string();
            let what = words.split("; ").next().unwrap_or_default();
            format!(
                "out cannot be written to: {}",
                what.strip_prefix("x is ").map_or(what.to_owned(), |rest| format!("it is {rest}"))
            )
        }
    }
}

/// What shows the memory of `out` itself, which it may be written through.
fn shares(cause: &Error) -> Option<&'static str> {
    match cause {
        Error::Refused(Refusal::Torch { call: "x.detach()", .. }) => Some("out=out.detach()"),
        Error::Refused(Refusal::TorchSubclass { .. }) => Some("out=out.as_subclass(torch.Tensor)"),
        Error::Refused(Refusal::Masked { .. }) => Some("out=out.data, whose mask stays as it is"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_an_x_are_words_of_another_argument() {
        assert_eq!(
            of_argument("x is mixed; call x.max(x), or f(x)", "b"),
            "b is mixed; call b.max(b), or f(b)"
        );
        assert_eq!(of_argument("uint8x2 of \"x\" x", "a"), "uint8x2 of \"x\" a");
        assert_eq!(of_argument("", "a"), "");
    }
}
