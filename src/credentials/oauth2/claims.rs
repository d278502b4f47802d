//! The claims of a token, and those that a login needs (RFC 7519 §4, RFC 9068 §4).

use serde_json::{Map, Value};

use super::error::TokenError;
use crate::config::TokenTerms;
use crate::protocol::{ClaimedName, Username};

/// The claims in a token, or those that its provider returns for it.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// The claims in the members of a JSON object.
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// A claim of any type.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim, if it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A claim in seconds since 1970, with or without a fraction; `None` if the token does not have it.
    fn seconds(&self, name: &'static str) -> Result<Option<f64>, TokenError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or(TokenError::NotATime(name))
    }

    /// Whether a claim is the text `wanted`, or a list with it.
    fn is_among(&self, name: &str, wanted: &str) -> bool {
        match self.get(name) {
            Some(Value::Array(texts)) => texts.iter().any(|text| text.as_str() == Some(wanted)),
            other => other.and_then(Value::as_str) == Some(wanted),
        }
    }
}

impl TokenTerms {
    /// The user of a token at the time `now`, in seconds since 1970.
    ///
    /// - The claims must come from the provider: this is not checked here.
    /// - Clocks may differ by a minute.
    pub(super) fn user(&self, claims: &Claims, now: f64) -> Result<Username, TokenError> {
        // RFC 7519 §4.1.1
        if claims.get("iss").is_some() && claims.text("iss") != Some(&self.issuer) {
            return Err(TokenError::Issuer(self.issuer.clone()));
        }
        // RFC 7519 §4.1.3
        if !claims.is_among("aud", &self.audience) {
            return Err(TokenError::Audience(self.audience.clone()));
        }
        // RFC 7519 §4.1.4
        if claims.seconds("exp")?.is_some_and(|end| now >= end + LEEWAY) {
            return Err(TokenError::Expired);
        }
        // RFC 7519 §4.1.5
        if claims.seconds("nbf")?.is_some_and(|start| now < start - LEEWAY) {
            return Err(TokenError::NotYetValid);
        }
        if let Some(scope) = self.scope.as_ref().filter(|scope| !allows(claims, scope)) {
            return Err(TokenError::Scope(scope.clone()));
        }
        // RFC 9449 §7.2: the client would have to prove that it has a key, and SASL has no way to.
        if claims.get("cnf").is_some() {
            return Err(TokenError::BoundToKey);
        }
        self.named(claims)
    }

    fn named(&self, claims: &Claims) -> Result<Username, TokenError> {
        let claim = &self.user_claim;
        let name = claims.text(claim).ok_or_else(|| TokenError::NoName(claim.clone()))?;
        if claim == "email" && claims.get("email_verified").is_some_and(|value| !is_true(value)) {
            return Err(TokenError::EmailNotVerified);
        }
        let name = ClaimedName::new(name.as_bytes());
        Username::try_from(&name).map_err(|error| {
            let claim = claim.clone();
            TokenError::Name { claim, name, error }
        })
    }
}

/// Whether a token has a scope. The claim is a list, or words with spaces between them.
fn allows(claims: &Claims, scope: &str) -> bool {
    ["scope", "scp"].iter().any(|&name| {
        let words = claims.text(name).unwrap_or_default();
        words.split(' ').any(|word| word == scope) || claims.is_among(name, scope)
    })
}

/// Some providers write every claim as text.
fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true) || value.as_str() == Some("true")
}

/// How far our clock and the provider's may differ, in seconds.
const LEEWAY: f64 = 60.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(changed: &Value) -> Result<String, String> {
        let terms = TokenTerms {
            issuer: "https://login.example.org".into(),
            audience: "restante".into(),
            scope: Some("mail".into()),
            user_claim: "email".into(),
        };
        let mut claims = json!({
            "iss": "https://login.example.org", "aud": "restante", "exp": 2000, "nbf": 1000,
            "scope": "openid mail", "email": "MRose@example.org",
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let Value::Object(mut members) = claims else { panic!() };
        members.retain(|_, value| value != "absent");
        terms
            .user(&Claims::new(members), 1500.0)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn claims_that_are_accepted() {
        for changed in [
            json!({}),
            json!({"iss": "absent"}),
            json!({"aud": ["other", "restante"]}),
            json!({"exp": 1440.5}),
            json!({"exp": "absent", "nbf": 1560}),
            json!({"scope": ["mail"]}),
            json!({"scope": "absent", "scp": "calendar mail"}),
            json!({"scope": "calendar", "scp": ["mail", "calendar"]}),
            json!({"email_verified": true}),
            json!({"email_verified": "true"}),
        ] {
            assert_eq!(user(&changed), Ok("mrose@example.org".into()), "{changed}");
        }
    }

    #[test]
    fn each_claim_alone_can_refuse_a_token() {
        for (changed, hint) in [
            (json!({"iss": "https://login.example.org/"}), "not of https://login.example.org"),
            (json!({"iss": ["https://login.example.org"]}), "not of"),
            (json!({"aud": "other"}), "not meant for restante"),
            (json!({"aud": "restante other"}), "not meant for"),
            (json!({"aud": []}), "not meant for"),
            (json!({"aud": "absent"}), "not meant for"),
            (json!({"exp": 1440}), "has expired"),
            (json!({"exp": -1}), "has expired"),
            (json!({"exp": "2000"}), "exp is not a time"),
            (json!({"exp": null}), "exp is not a time"),
            (json!({"nbf": 1561}), "not valid yet"),
            (json!({"nbf": true}), "nbf is not a time"),
            (json!({"scope": "mailbox openid"}), "does not have the scope mail"),
            (json!({"scope": "absent"}), "does not have the scope"),
            (json!({"scope": ["openid mail"]}), "does not have the scope"),
            (json!({"cnf": {"jkt": "x"}}), "bound to a key"),
            (json!({"email": "absent"}), "has no text email"),
            (json!({"email": ["mrose@example.org"]}), "has no text email"),
            (json!({"email": "../\u{1b}[2J"}), r"../\x1b[2J, is not a user name: it has a slash"),
            (json!({"email_verified": false}), "has not verified"),
            (json!({"email_verified": "false"}), "has not verified"),
        ] {
            let why = user(&changed).unwrap_err();
            assert!(why.contains(hint), "{changed}: {why}");
        }
    }
}
