//! LOGIN: name and password, each after a challenge (draft-murchison-sasl-login-00 §2).
//!
//! The draft calls the challenges free text, yet some clients wait for just these words.

/// Asks for the name.
pub(super) const NAME_CHALLENGE: &[u8] = b"Username:";

/// Asks for the password.
pub(super) const PASSWORD_CHALLENGE: &[u8] = b"Password:";

#[cfg(test)]
mod tests {
    use crate::protocol::Secret;
    use crate::protocol::sasl::{Channel, Mechanism, Step};

    #[test]
    fn name_then_password() {
        let exchange = Mechanism::Login.begin(Channel::default());
        assert_eq!(exchange.challenge(), b"Username:");
        let Step::Challenge(exchange) = exchange.step(Secret::new(b"mrose".to_vec())) else {
            panic!("no challenge after the name");
        };
        assert_eq!(exchange.challenge(), b"Password:");
        let Step::Verify(name, password) = exchange.step(Secret::new(b"tanstaaf".to_vec())) else {
            panic!("nothing to verify after the password");
        };
        assert_eq!(
            (name.to_string().as_str(), password.expose().as_slice()),
            ("mrose", &b"tanstaaf"[..])
        );
    }
}
