//! The channel bindings of a connection (RFC 5802 §6).

/// The channel bindings that a connection has.
///
/// - Without TLS there are none, and no -PLUS mechanism may be listed.
/// - With a binding, the -PLUS mechanisms can be listed. If they are, a client that could bind but
///   believes that the server cannot is the victim of a downgrade (RFC 5802 §6). If they are not,
///   the exchange begins without bindings.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// `tls-exporter`: keying material of TLS 1.3 (RFC 9266).
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point`: a hash of the certificate of the server (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
}

impl Channel {
    /// Whether the -PLUS mechanisms can be offered.
    pub fn binds(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    /// The data of the binding that the client has chosen, if the connection has it.
    ///
    /// - Names are case-sensitive (RFC 5802 §7).
    pub(super) fn data(&self, name: &str) -> Option<&[u8]> {
        // DEVIATION: RFC 5802 §6.1 — no `tls-unique`: TLS 1.3 does not have it, and earlier
        // versions need an extension to make it safe (RFC 7677 §4). RFC 9266 replaces it with
        // tls-exporter.
        match name {
            "tls-exporter" => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            "tls-server-end-point" => self.end_point.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bindings_of_the_connection_have_data() {
        let none = Channel::default();
        assert!(!none.binds() && none.data("tls-exporter").is_none());
        let end_point = Channel { exporter: None, end_point: Some(vec![7; 48]) };
        assert!(end_point.binds() && end_point.data("tls-exporter").is_none());
        assert_eq!(end_point.data("tls-server-end-point"), Some(&[7; 48][..]));
        let both = Channel { exporter: Some([9; 32]), ..end_point };
        assert_eq!(both.data("tls-exporter"), Some(&[9; 32][..]));
        for unknown in ["tls-unique", "TLS-EXPORTER", "", "tls-exporter "] {
            assert!(both.data(unknown).is_none(), "{unknown:?}");
        }
    }
}
