//! Snapshots: a dialog, a subscription, a registration or a whole machine as bytes, to come back on another machine.
//!
//! The form is CBOR (RFC 8949): a magic word and a version, then maps whose keys are the numbers that this file's users give their
//! fields. A number is never given twice. A reader skips fields that it does not know and takes the usual value for those that are
//! missing, so that old and new machines may read each other's snapshots. Points in time are written as distances from the clock of the machine, and
//! come back at the same distance from the clock of the reader.
//!
//! Bytes may be anything: what they claim is checked, and what would make a table inconsistent is [`RestoreError::Damaged`].

mod values;

pub(crate) use values::NotByte;

use crate::time::Instant;
use crate::transaction::{BufferId, Buffers};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// Why bytes can't be restored. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// They are no snapshot.
    NotASnapshot,
    /// They are of a version that this one can't read.
    Version(u8),
    /// They are a snapshot of something else.
    Kind,
    /// They are cut off or contradict themselves.
    Damaged,
    /// What they describe lives here already.
    Exists,
    /// A cap of [`Limits`](crate::Limits) is reached.
    Full,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str("not a snapshot"),
            Self::Version(version) => {
                write!(f, "a snapshot of version {version}, and this one reads {VERSION}")
            }
            Self::Kind => f.write_str("a snapshot of something else"),
            Self::Damaged => f.write_str("the snapshot is damaged"),
            Self::Exists => f.write_str("what the snapshot describes lives here already"),
            Self::Full => f.write_str("a configured limit is reached"),
        }
    }
}

impl core::error::Error for RestoreError {}

/// What a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Endpoint = 1,
    UserAgent = 2,
    Dialog = 3,
    Subscription = 4,
    Registration = 5,
    Publication = 6,
}

const MAGIC: [u8; 4] = *b"sipc";
/// Readers of this version read all that is written by it, with more or fewer fields.
const VERSION: u8 = 1;

/// A value that snapshots hold.
pub(crate) trait Keep: Sized {
    fn keep(&self, out: &mut Out<'_>);

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError>;

    /// The value of a field that is missing.
    fn missing() -> Result<Self, RestoreError> {
        Err(RestoreError::Damaged)
    }
}

/// A snapshot that is being written.
pub(crate) struct Out<'a> {
    text: Encoder<Vec<u8>>,
    clock: Instant,
    buffers: &'a Buffers,
    /// The buffers that are written already, by the order in which they were.
    written: BTreeMap<u32, u32>,
}

/// A snapshot that is being read.
pub(crate) struct In<'b> {
    text: Decoder<'b>,
    clock: Instant,
    /// The buffers of the machine to be, while it is read.
    pub(crate) buffers: Buffers,
    read: Vec<BufferId>,
}

impl<'a> Out<'a> {
    pub(crate) fn new(kind: Kind, clock: Instant, buffers: &'a Buffers) -> Self {
        let mut start = Vec::from(MAGIC);
        start.extend([VERSION, kind as u8]);
        Self { text: Encoder::new(start), clock, buffers, written: BTreeMap::new() }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.text.into_writer()
    }

    /// A vector takes whatever is written to it.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>)) {
        write(&mut self.text);
    }

    pub(crate) fn map(&mut self, fields: u64) {
        self.write(|text| {
            let _ = text.map(fields);
        });
    }

    pub(crate) fn list(&mut self, length: usize) {
        self.write(|text| {
            let _ = text.array(length as u64);
        });
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.write(|text| {
            let _ = text.u64(value);
        });
    }

    /// A field of a map, by its number.
    pub(crate) fn field(&mut self, number: u64, value: &impl Keep) {
        self.number(number);
        value.keep(self);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.write(|text| {
            let _ = text.bytes(value);
        });
    }

    fn nothing(&mut self) {
        self.write(|text| {
            let _ = text.null();
        });
    }

    /// A point in time, by its distance from the clock.
    fn instant(&mut self, at: Instant) {
        let (at, clock) = (at.as_micros() as i64, self.clock.as_micros() as i64);
        self.write(|text| {
            let _ = text.i64(at.wrapping_sub(clock));
        });
    }

    /// A retained message: in full the first time, then by its number.
    fn buffer(&mut self, id: BufferId) {
        if id == BufferId::NONE {
            return self.nothing();
        }
        let next = self.written.len() as u32;
        if let Some(number) = self.written.get(&id.number()).copied() {
            return self.number(number.into());
        }
        self.written.insert(id.number(), next);
        let (start, whole) = (self.buffers.start(id), self.buffers.whole(id));
        self.list(2);
        self.number(start.into());
        self.bytes(whole);
    }
}

impl<'b> In<'b> {
    /// Begins to read bytes of this kind.
    pub(crate) fn new(
        bytes: &'b [u8],
        kind: Kind,
        clock: Instant,
        buffers: Buffers,
    ) -> Result<Self, RestoreError> {
        let Some((magic, rest)) = bytes.split_first_chunk() else { return Err(RestoreError::NotASnapshot) };
        match rest {
            _ if *magic != MAGIC => Err(RestoreError::NotASnapshot),
            [VERSION, found, text @ ..] if *found == kind as u8 => {
                Ok(Self { text: Decoder::new(text), clock, buffers, read: Vec::new() })
            }
            [VERSION, ..] => Err(RestoreError::Kind),
            [version, ..] => Err(RestoreError::Version(*version)),
            [] => Err(RestoreError::NotASnapshot),
        }
    }

    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, RestoreError> {
        read(&mut self.text).map_err(|_| RestoreError::Damaged)
    }

    /// The fields of a map, each given to `field` with its number; what that does not read it skips.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(u64, &mut Self) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let length = self.read(|text| text.map())?.ok_or(RestoreError::Damaged)?;
        for _ in 0..length {
            let number = self.number()?;
            field(number, self)?;
        }
        Ok(())
    }

    pub(crate) fn skip(&mut self) -> Result<(), RestoreError> {
        self.read(|text| text.skip())
    }

    pub(crate) fn list(&mut self) -> Result<u64, RestoreError> {
        self.read(|text| text.array())?.ok_or(RestoreError::Damaged)
    }

    pub(crate) fn number(&mut self) -> Result<u64, RestoreError> {
        self.read(|text| text.u64())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], RestoreError> {
        self.read(|text| text.bytes())
    }

    /// Whether nothing stands here; then it is read.
    fn is_nothing(&mut self) -> Result<bool, RestoreError> {
        let nothing = self.read(|text| text.datatype())? == Type::Null;
        if nothing {
            self.skip()?;
        }
        Ok(nothing)
    }

    fn instant(&mut self) -> Result<Instant, RestoreError> {
        let distance = self.read(|text| text.i64())?;
        let clock = self.clock.as_micros();
        Ok(Instant::from_micros(clock.saturating_add_signed(distance)).min(Instant::LAST))
    }

    fn buffer(&mut self) -> Result<BufferId, RestoreError> {
        if self.is_nothing()? {
            return Ok(BufferId::NONE);
        }
        if self.read(|text| text.datatype())? != Type::Array {
            let number = self.number()?;
            let id = usize::try_from(number).ok().and_then(|at| self.read.get(at)).copied();
            let id = id.ok_or(RestoreError::Damaged)?;
            self.buffers.pin(id);
            return Ok(id);
        }
        if self.list()? != 2 {
            return Err(RestoreError::Damaged);
        }
        let start = u32::try_from(self.number()?).map_err(|_| RestoreError::Damaged)?;
        let whole = self.bytes()?;
        if start as usize > whole.len() {
            return Err(RestoreError::Damaged);
        }
        let id = self.buffers.take(whole.len());
        self.buffers.write(id, |out| {
            out.extend_from_slice(whole);
            start as usize
        });
        self.read.push(id);
        Ok(id)
    }
}

/// How a structure stands in a snapshot: the number of each field.
macro_rules! kept {
    ($type:ty { $($number:literal $field:ident),* $(,)? }) => {
        impl $crate::snapshot::Keep for $type {
            fn keep(&self, out: &mut $crate::snapshot::Out<'_>) {
                out.map([$($number),*].len() as u64);
                $(out.field($number, &self.$field);)*
            }

            fn back(
                from: &mut $crate::snapshot::In<'_>,
            ) -> Result<Self, $crate::snapshot::RestoreError> {
                $(let mut $field = None;)*
                from.fields(|number, from| {
                    match number {
                        $($number => $field = Some($crate::snapshot::Keep::back(from)?),)*
                        _ => from.skip()?,
                    }
                    Ok(())
                })?;
                Ok(Self { $($field: match $field {
                    Some(value) => value,
                    None => $crate::snapshot::Keep::missing()?,
                }),* })
            }
        }
    };
}

/// How an enumeration stands in a snapshot: a list of the number of its variant, and what that holds.
macro_rules! kept_enum {
    ($type:ty { $($number:literal $variant:ident $(($($value:ident),*))? $({$($field:ident),*})?),* $(,)? }) => {
        impl $crate::snapshot::Keep for $type {
            fn keep(&self, out: &mut $crate::snapshot::Out<'_>) {
                match self {
                    $(Self::$variant $(($($value),*))? $({$($field),*})? => {
                        out.list(1 $(+ [$(stringify!($value)),*].len())? $(+ [$(stringify!($field)),*].len())?);
                        out.number($number);
                        $($($crate::snapshot::Keep::keep($value, out);)*)?
                        $($($crate::snapshot::Keep::keep($field, out);)*)?
                    })*
                }
            }

            fn back(
                from: &mut $crate::snapshot::In<'_>,
            ) -> Result<Self, $crate::snapshot::RestoreError> {
                let length = from.list()?;
                if length == 0 {
                    return Err($crate::snapshot::RestoreError::Damaged);
                }
                let (number, length) = (from.number()?, length - 1);
                match number {
                    $($number => {
                        let wanted = 0 $(+ [$(stringify!($value)),*].len())? $(+ [$(stringify!($field)),*].len())?;
                        if length < wanted as u64 {
                            return Err($crate::snapshot::RestoreError::Damaged);
                        }
                        $($(let $value = $crate::snapshot::Keep::back(from)?;)*)?
                        $($(let $field = $crate::snapshot::Keep::back(from)?;)*)?
                        for _ in wanted as u64..length {
                            from.skip()?;
                        }
                        Ok(Self::$variant $(($($value),*))? $({$($field),*})?)
                    })*
                    _ => Err($crate::snapshot::RestoreError::Damaged),
                }
            }
        }
    };
}

pub(crate) use {kept, kept_enum};
