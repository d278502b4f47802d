//! What mail clients have to be told, as documents: for Thunderbird, Outlook, Apple's systems and the
//! DNS. No I/O.
//!
//! A [`Site`] is what the configuration says; a document is made for a [`Domain`] or for an
//! [`Address`]. `autoconfig`, `autodiscover`, `mobileconfig` and `dns` make one each.
//!
//! - POP3 is always the first protocol, since many clients set up the first one that they find.
//! - All text is escaped by `Xml`, whatever it is.

mod address;
mod autoconfig;
mod autodiscover;
mod dns;
mod mobileconfig;
mod site;
mod xml;

pub use address::{Address, Domain};
pub use autoconfig::autoconfig;
pub use autodiscover::{autodiscover, autodiscover_error};
pub use dns::records;
pub use mobileconfig::mobileconfig;
pub use site::{Protocol, Server, Site};
use xml::{Xml, document};
