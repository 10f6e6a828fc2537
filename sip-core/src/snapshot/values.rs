//! The values that structures are made of.

use super::{In, Keep, Out, RestoreError};
use crate::handle::{
    ClientTxn, DialogId, FlowId, Invitation, Key, PublicationId, RegistrationId, RequestId, ResolveId,
    ServerTxn, SubscriptionId,
};
use crate::time::{Instant, micros};
use crate::transaction::BufferId;
use crate::transport::{Target, Transport};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use smallvec::SmallVec;

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Keep for $type {
            fn keep(&self, out: &mut Out<'_>) {
                out.number((*self).into());
            }

            fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
                Self::try_from(from.number()?).map_err(|_| RestoreError::Damaged)
            }

            fn missing() -> Result<Self, RestoreError> {
                Ok(0)
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64);

impl Keep for usize {
    fn keep(&self, out: &mut Out<'_>) {
        out.number(*self as u64);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Self::try_from(from.number()?).map_err(|_| RestoreError::Damaged)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(0)
    }
}

impl Keep for bool {
    fn keep(&self, out: &mut Out<'_>) {
        out.number(u64::from(*self));
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        match from.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RestoreError::Damaged),
        }
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(false)
    }
}

impl Keep for Vec<u8> {
    fn keep(&self, out: &mut Out<'_>) {
        out.bytes(self);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.bytes().map(Self::from)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
    }
}

macro_rules! texts {
    ($($type:ty)*) => {$(
        impl Keep for $type {
            fn keep(&self, out: &mut Out<'_>) {
                out.bytes(self);
            }

            fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
                from.bytes().map(Self::from)
            }

            fn missing() -> Result<Self, RestoreError> {
                Ok(Self::default())
            }
        }
    )*};
}

texts!(Box<[u8]> Arc<[u8]>);

impl Keep for String {
    fn keep(&self, out: &mut Out<'_>) {
        out.bytes(self.as_bytes());
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Self::from_utf8(from.bytes()?.into()).map_err(|_| RestoreError::Damaged)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
    }
}

/// A list of anything but bytes.
impl<T: Keep + NotByte> Keep for Vec<T> {
    fn keep(&self, out: &mut Out<'_>) {
        out.list(self.len());
        for value in self {
            value.keep(out);
        }
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let length = from.list()?;
        let mut all = Self::new();
        for _ in 0..length {
            all.push(T::back(from)?);
        }
        Ok(all)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
    }
}

impl<T: Keep + NotByte> Keep for SmallVec<[T; 1]>
where
    Vec<T>: Keep,
{
    fn keep(&self, out: &mut Out<'_>) {
        out.list(self.len());
        for value in self {
            value.keep(out);
        }
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Vec::back(from).map(Self::from_vec)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
    }
}

/// What a list may be made of: bytes are written as one string.
pub(crate) trait NotByte {}

impl<T> NotByte for (T, T) {}
impl NotByte for (u32, Instant) {}
impl NotByte for (u32, BufferId) {}
impl NotByte for (u64, Vec<(u32, Instant)>) {}
impl NotByte for (u32, Option<u32>) {}
impl NotByte for Vec<u8> {}
impl NotByte for u32 {}
impl NotByte for String {}
impl NotByte for Key {}
impl NotByte for ServerTxn {}
impl NotByte for FlowId {}

impl<T: Keep> Keep for VecDeque<T>
where
    Vec<T>: Keep,
    T: Clone,
{
    fn keep(&self, out: &mut Out<'_>) {
        Vec::from(self.clone()).keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Vec::back(from).map(Self::from)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
    }
}

impl<A: Keep, B: Keep> Keep for (A, B) {
    fn keep(&self, out: &mut Out<'_>) {
        out.list(2);
        self.0.keep(out);
        self.1.keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        if from.list()? != 2 {
            return Err(RestoreError::Damaged);
        }
        Ok((A::back(from)?, B::back(from)?))
    }
}

impl<T: Keep> Keep for [T; 3] {
    fn keep(&self, out: &mut Out<'_>) {
        out.list(3);
        self.iter().for_each(|value| value.keep(out));
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        if from.list()? != 3 {
            return Err(RestoreError::Damaged);
        }
        Ok([T::back(from)?, T::back(from)?, T::back(from)?])
    }
}

impl<T: Keep> Keep for Option<T> {
    fn keep(&self, out: &mut Out<'_>) {
        match self {
            None => out.nothing(),
            Some(value) => value.keep(out),
        }
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        if from.is_nothing()? { Ok(None) } else { T::back(from).map(Some) }
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(None)
    }
}

impl<T: Keep> Keep for Box<T> {
    fn keep(&self, out: &mut Out<'_>) {
        T::keep(self, out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        T::back(from).map(Self::new)
    }
}

impl<T: Keep> Keep for Arc<T> {
    fn keep(&self, out: &mut Out<'_>) {
        T::keep(self, out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        T::back(from).map(Self::new)
    }
}

impl Keep for Instant {
    fn keep(&self, out: &mut Out<'_>) {
        out.instant(*self);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.instant()
    }
}

impl Keep for Duration {
    fn keep(&self, out: &mut Out<'_>) {
        out.number(micros(*self));
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.number().map(Self::from_micros)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::ZERO)
    }
}

impl Keep for SocketAddr {
    fn keep(&self, out: &mut Out<'_>) {
        out.bytes(self.to_string().as_bytes());
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let text = core::str::from_utf8(from.bytes()?).map_err(|_| RestoreError::Damaged)?;
        text.parse().map_err(|_| RestoreError::Damaged)
    }
}

impl Keep for Transport {
    fn keep(&self, out: &mut Out<'_>) {
        out.bytes(self.token().as_bytes());
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Self::named(from.bytes()?).ok_or(RestoreError::Damaged)
    }
}

impl Keep for Target {
    fn keep(&self, out: &mut Out<'_>) {
        (self.transport, self.addr).keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let (transport, addr) = Keep::back(from)?;
        Ok(Self { transport, addr })
    }
}

impl Keep for BufferId {
    fn keep(&self, out: &mut Out<'_>) {
        out.buffer(*self);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.buffer()
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::NONE)
    }
}

impl Keep for Key {
    fn keep(&self, out: &mut Out<'_>) {
        out.number(self.to_bits());
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        from.number().map(Self::from_bits)
    }
}

macro_rules! handles {
    ($($name:ident)*) => {$(
        impl Keep for $name {
            fn keep(&self, out: &mut Out<'_>) {
                self.0.keep(out);
            }

            fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
                Key::back(from).map(Self)
            }
        }
    )*};
}

handles!(ClientTxn ServerTxn DialogId FlowId Invitation PublicationId RegistrationId RequestId ResolveId SubscriptionId);
