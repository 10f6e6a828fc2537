//! The shapes that most headers have, as macros: each makes a type with its parser, its writer and its `Debug`.

use super::Header;
use alloc::vec::Vec;
use core::fmt;

/// Shows a header as it is written.
pub(super) fn shown<'a, T: Header<'a>>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = Vec::new();
    value.emit(&mut out);
    write!(f, "{}: {}", T::NAME, out.escape_ascii())
}

/// `Debug` by [`shown`].
macro_rules! debug {
    ($($name:ident $(<$life:lifetime>)?),* $(,)?) => {$(
        impl core::fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                crate::headers::shapes::shown(self, f)
            }
        }
    )*};
}

/// One word: `Name lexer`. With `empty` behind it, the field may have no value at all.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident($lex:path) $($empty:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(pub &'a [u8]);

        impl $name<'_> {
            /// Whether this is the word `word`, without case.
            pub fn is(&self, word: &str) -> bool {
                self.0.eq_ignore_ascii_case(word.as_bytes())
            }
        }

        impl<'a> crate::headers::Header<'a> for $name<'a> {
            const NAME: crate::headers::Name = crate::headers::Name::$name;
            $(const $empty: bool = true;)?

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), crate::message::Error> {
                crate::headers::value(input, $lex).map(|(word, rest)| (Self(word), rest))
            }

            fn emit(&self, out: &mut alloc::vec::Vec<u8>) {
                out.extend_from_slice(self.0);
            }
        }

        crate::headers::shapes::debug!($name<'_>);
    )*};
}

/// A word with parameters: `Name(field: lexer)`.
macro_rules! words_with_params {
    ($($(#[$doc:meta])* $name:ident($(#[$what:meta])* $field:ident: $lex:path) $($empty:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            $(#[$what])*
            pub $field: &'a [u8],
            /// The parameters.
            pub params: crate::headers::Params<'a>,
        }

        impl $name<'_> {
            /// Whether the word before the parameters is `word`, without case.
            pub fn is(&self, word: &str) -> bool {
                self.$field.eq_ignore_ascii_case(word.as_bytes())
            }
        }

        impl<'a> crate::headers::Header<'a> for $name<'a> {
            const NAME: crate::headers::Name = crate::headers::Name::$name;
            $(const $empty: bool = true;)?

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), crate::message::Error> {
                crate::headers::value(input, |input| {
                    let (rest, $field) = $lex(input)?;
                    let (rest, params) = crate::headers::Params::lex(rest)?;
                    Ok((rest, Self { $field, params }))
                })
            }

            fn emit(&self, out: &mut alloc::vec::Vec<u8>) {
                out.extend_from_slice(self.$field);
                out.extend_from_slice(self.params.as_bytes());
            }
        }

        crate::headers::shapes::debug!($name<'_>);
    )*};
}

/// An address: `Name(lexer)`.
macro_rules! addresses {
    ($($(#[$doc:meta])* $name:ident($lex:path);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(pub crate::headers::Address<'a>);

        impl<'a> crate::headers::Header<'a> for $name<'a> {
            const NAME: crate::headers::Name = crate::headers::Name::$name;

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), crate::message::Error> {
                crate::headers::value(input, $lex).map(|(address, rest)| (Self(address), rest))
            }

            fn emit(&self, out: &mut alloc::vec::Vec<u8>) {
                self.0.emit(out);
            }
        }

        crate::headers::shapes::debug!($name<'_>);
    )*};
}

pub(super) use {addresses, debug, words, words_with_params};
