//! The bounds of the parameters of a hash: how much work it may ask for.

use std::ops::RangeInclusive;

/// Why the parameters of a hash are refused. `kind` is the scheme, `name` the parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The text is not a number.
    #[error("its {kind} hash is damaged: {name} is not a number")]
    NotANumber { kind: &'static str, name: &'static str },
    /// The number is too small.
    #[error("its {kind} hash asks for {name}={number}, less than {name}={least}")]
    Below { kind: &'static str, name: &'static str, number: u32, least: u32 },
    /// The number is too large.
    #[error("its {kind} hash asks for {name}={number}, more than {name}={most}")]
    Above { kind: &'static str, name: &'static str, number: u32, most: u32 },
    /// The number has more than 32 bits.
    #[error("its {kind} hash asks for more than {name}={most}")]
    Overflow { kind: &'static str, name: &'static str, most: u32 },
    /// Scrypt or yescrypt would take too much memory or time.
    #[error("its {kind} hash asks for N=2^{log_n}, r={r} and p={p}, more than N·r·p={MAX_BLOCKS}")]
    Memory { kind: &'static str, log_n: u32, r: u32, p: u32 },
    /// The parameters are not those that the scheme has.
    #[error("the parameters of its {kind} hash are not {wanted}")]
    Names { kind: &'static str, wanted: &'static str },
    /// Argon2 cannot be computed with these parameters.
    #[error("its argon2 parameters do not fit together ({0})")]
    Argon2(#[from] ::argon2::Error),
    /// Scrypt cannot be computed with these parameters.
    #[error("its scrypt parameters do not fit together ({0})")]
    Scrypt(#[from] ::scrypt::errors::InvalidParams),
    /// The text is not a set of parameters of yescrypt.
    #[error("its yescrypt parameters are not usable ({0})")]
    Yescrypt(#[from] ::yescrypt::Error),
    /// The parameters of yescrypt ask for a flavour that crypt(3) does not make.
    #[error("its yescrypt parameters are not of the kind that crypt(3) makes")]
    Flavour,
}

/// Reads a number that a hash asks for, and refuses one that is not within `bounds`.
pub(super) fn bounded(
    kind: &'static str,
    name: &'static str,
    text: &str,
    bounds: RangeInclusive<u32>,
) -> Result<u32, ParameterError> {
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(ParameterError::NotANumber { kind, name });
    }
    let most = *bounds.end();
    let number = text.parse().map_err(|_| ParameterError::Overflow { kind, name, most })?;
    within(kind, name, number, bounds)
}

/// Refuses a number that is not within `bounds`.
pub(super) fn within(
    kind: &'static str,
    name: &'static str,
    number: u32,
    bounds: RangeInclusive<u32>,
) -> Result<u32, ParameterError> {
    let (least, most) = bounds.into_inner();
    if number < least {
        Err(ParameterError::Below { kind, name, number, least })
    } else if number > most {
        Err(ParameterError::Above { kind, name, number, most })
    } else {
        Ok(number)
    }
}

/// Refuses scrypt and yescrypt that would use too much memory.
pub(super) fn within_memory(
    kind: &'static str,
    log_n: u32,
    r: u32,
    p: u32,
) -> Result<(), ParameterError> {
    let blocks = 1_u64.checked_shl(log_n).and_then(|n| n.checked_mul(u64::from(r)));
    match blocks.and_then(|blocks| blocks.checked_mul(u64::from(p))) {
        Some(blocks) if blocks <= MAX_BLOCKS => Ok(()),
        Some(_) | None => Err(ParameterError::Memory { kind, log_n, r, p }),
    }
}

/// 256 MiB for one verification; scrypt and yescrypt count r in blocks of 128 octets.
const MAX_BLOCKS: u64 = 256 * 1024 * 1024 / 128;

#[cfg(test)]
mod tests {
    use crate::password::tests::{parse, reason};

    #[test]
    fn parameters_beyond_the_bounds_are_refused() {
        let bcrypt = "$CsMMocytfCBt1glN0GkuKu3IkMNqU111DTV6ReP6lhKkY67O7wNkS";
        let sha512 = "$4tcSTcfjbQfefVr8$UJWeEia7WLrsjsXO/JtIRjv.Fm39XERr7LmKVbJ5cGuo4ptcus4ABHwQoZeUS.lvtTxyNufUutIXxhWdBx6gF1";
        let phc = "$MSYEICSkdE5prbV2TgmhdA$LSrabq/H4A6gL0kNv4GQuE4oKyoLiLVzOT4CxIkq8d4";
        let crypt = "$lVsOq2TaFMudHPbQvNyF4.$RQ8WC8Cbf7Xs5m8pDOYMI6MEByah7sllif1I8N5ZHi.";
        let keys = ",XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=";
        let hex = "$77906a17fe598003ea8594c10a53f612367f82c4";
        for (stored, error) in [
            (format!("$2y$16{bcrypt}"), "cost=16, more than cost=15"),
            (format!("$2y$31{bcrypt}"), "cost=31"),
            (format!("$2y$03{bcrypt}"), "cost=3, less than cost=4"),
            (format!("$2y$4294967296{bcrypt}"), "more than cost=15"),
            (format!("$2y$+5{bcrypt}"), "cost is not a number"),
            (format!("$6$rounds=1000001{sha512}"), "rounds=1000001, more than rounds=1000000"),
            (format!("$6$rounds=999999999{sha512}"), "rounds=999999999"),
            (format!("$6$rounds=99999999999999999999{sha512}"), "more than rounds=1000000"),
            (format!("$6$rounds=999{sha512}"), "rounds=999, less than rounds=1000"),
            (format!("$6$rounds={sha512}"), "rounds is not a number"),
            (format!("$scrypt$ln=21,r=8,p=1{phc}"), "N=2^21, r=8 and p=1, more than N·r·p=2097152"),
            (format!("$scrypt$ln=4294967295,r=8,p=1{phc}"), "N=2^4294967295"),
            (format!("$scrypt$ln=63,r=4294967295,p=4294967295{phc}"), "N=2^63"),
            (format!("$scrypt$ln=10,r=8,p=4294967295{phc}"), "p=4294967295"),
            (format!("$scrypt$ln=0,r=8,p=1{phc}"), "ln=0, less than ln=1"),
            (format!("$scrypt$ln=10,r=0,p=1{phc}"), "r=0, less than r=1"),
            (format!("$scrypt$ln=10,r=8,p=0{phc}"), "p=0, less than p=1"),
            (format!("$scrypt$r=8,ln=10,p=1{phc}"), "not ln, r and p"),
            (format!("$scrypt$ln=10,r=8,p=1,x=1{phc}"), "not ln, r and p"),
            ("$7$zzzzzzzzzzzz$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(), "N=2^63"),
            (
                "$7$C..........x$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(),
                "do not fit together (",
            ),
            (
                "$7$.U..../....x$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(),
                "N=1, less than N=2",
            ),
            (format!("$y$jHT{crypt}"), "N=2^20, r=32 and p=1, more than"),
            (format!("$y$jzzzzzzzzzzzz{crypt}"), "parameters"),
            (format!("$y$jxzzzzzz{crypt}"), "yescrypt"),
            // Three times as long, four at once, an upgraded one, classic scrypt.
            (format!("$y$j9T/0{crypt}"), "not of the kind"),
            (format!("$y$j9T./{crypt}"), "not of the kind"),
            (format!("$y$j9T1.{crypt}"), "not usable"),
            (format!("$y$.9T{crypt}"), "not of the kind"),
            (format!("$y${crypt}"), "not usable"),
            (format!("{{PBKDF2}}$1$salt$2000001{hex}"), "rounds=2000001, more than rounds=2000000"),
            (format!("{{PBKDF2}}$1$salt$0{hex}"), "rounds=0"),
            (format!("{{PBKDF2}}$1$salt$-1{hex}"), "not a number"),
            (format!("{{PBKDF2}}$1${}$1{hex}", "x".repeat(1025)), "damaged"),
            (format!("{{SCRAM-SHA-256}}2000001{keys}"), "iterations=2000001, more than"),
            (format!("{{SCRAM-SHA-256}}0{keys}"), "iterations=0"),
            (format!("{{SCRAM-SHA-1}}4096{keys}"), "damaged"),
            (format!("{{SSHA.HEX}}{}", "00".repeat(20 + 65)), "salt of more than 64"),
            (format!("{{SSHA.HEX}}{}", "00".repeat(20)), "no salt"),
            (format!("{{SSHA.HEX}}{}", "00".repeat(19)), "too short"),
        ] {
            let why = reason(&stored);
            assert!(why.contains(error) && why.contains("set a new password"), "{stored}: {why}");
        }
        for bounds in [
            format!("$2y$15{bcrypt}"),
            format!("$6$rounds=1000000{sha512}"),
            format!("$scrypt$ln=18,r=8,p=1{phc}"),
            format!("$scrypt$ln=1,r=1,p=1048576{phc}"),
            format!("$y$jDT{crypt}"),
            format!("{{PBKDF2}}$1$salt$2000000{hex}"),
            format!("{{SCRAM-SHA-256}}2000000{keys}"),
        ] {
            assert!(parse(&bounds).cost().is_some(), "{bounds}");
        }
    }
}
