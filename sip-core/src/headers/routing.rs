//! Where a request goes: Route, Record-Route, Path, Service-Route (RFC 3261 §20.30, §20.34; RFC 3327; RFC 3608).

use super::Address;
use super::shapes::addresses;

addresses! {
    /// One element of a Route header.
    Route(Address::lex_route);
    /// One element of a Record-Route header.
    RecordRoute(Address::lex_route);
    /// One proxy on the way to a registered contact.
    Path(Address::lex_route);
    /// One proxy that requests of a registered user agent go through.
    ServiceRoute(Address::lex_route);
}
