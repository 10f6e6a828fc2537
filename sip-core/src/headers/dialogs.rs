//! Headers that name a dialog by its Call-ID and tags: Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538).

use super::shapes::words_with_params;
use crate::message::lex;

words_with_params! {
    /// The dialog that this call takes the place of.
    Replaces(
        /// The Call-ID.
        call_id: lex::call_id
    );
    /// The dialog that this call joins.
    Join(
        /// The Call-ID.
        call_id: lex::call_id
    );
    /// A dialog whose knowledge authorises the request.
    TargetDialog(
        /// The Call-ID.
        call_id: lex::call_id
    );
}

macro_rules! tags {
    ($($name:ident)*) => {$(
        impl<'a> $name<'a> {
            /// The tag of its receiver.
            pub fn to_tag(&self) -> Option<&'a [u8]> {
                self.params.get("to-tag")
            }

            /// The tag of its sender's peer.
            pub fn from_tag(&self) -> Option<&'a [u8]> {
                self.params.get("from-tag")
            }
        }
    )*};
}

tags!(Replaces Join);

impl Replaces<'_> {
    /// Whether only an early dialog may be replaced.
    pub fn early_only(&self) -> bool {
        self.params.get("early-only").is_some()
    }
}

impl<'a> TargetDialog<'a> {
    /// The tag of the sender of the request in that dialog.
    pub fn local_tag(&self) -> Option<&'a [u8]> {
        self.params.get("local-tag")
    }

    /// The tag of its receiver there.
    pub fn remote_tag(&self) -> Option<&'a [u8]> {
        self.params.get("remote-tag")
    }
}
