//! The bounds and defaults of numbers and durations.

use std::num::NonZeroU32;
use std::time::Duration;

/// A whole number with its default and bounds.
pub(super) struct Number {
    pub(super) key: &'static str,
    pub(super) default: NonZeroU32,
    pub(super) most: u32,
}

/// A duration with its default and bounds.
pub(super) struct Span {
    pub(super) key: &'static str,
    pub(super) default: Duration,
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// The reason for the lower bound, if the message needs one.
    pub(super) why_least: Option<&'static str>,
}

/// A number.
pub(super) const fn number(key: &'static str, default: u32, most: u32) -> Number {
    let default = match NonZeroU32::new(default) {
        Some(default) => default,
        None => NonZeroU32::MIN,
    };
    Number { key, default, most }
}

/// A duration; all arguments are in seconds.
pub(super) const fn span(key: &'static str, default: u64, least: u64, most: u64) -> Span {
    Span {
        key,
        default: Duration::from_secs(default),
        least: Duration::from_secs(least),
        most: Duration::from_secs(most),
        why_least: None,
    }
}
