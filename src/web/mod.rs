//! The settings of mail clients over HTTP: the documents that clients look for, and a page for people.
//!
//! - `request`: what a request is about. `page`: the page, with the texts of `text`.
//! - An address that somebody types is in the body of a request, so no log has it, and it is kept
//!   nowhere.
//! - The name that a client requests (`Host`) chooses among documents at most. It is in no link.

use std::borrow::Cow;
use std::sync::Arc;

use crate::client_settings::{
    Address, Domain, Site, autoconfig, autodiscover, autodiscover_error, mobileconfig,
};
use crate::http::{self, Method, Request, Response, StatusCode, header};
use header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderValue,
    REFERRER_POLICY, VARY,
};
use page::Page;
use request::{Program, parameter};
use text::Language;

mod page;
mod request;
mod text;

/// The pages of a site.
pub struct Pages<F> {
    current: F,
}

impl<F: Fn() -> Option<Arc<Site>> + Send + Sync> Pages<F> {
    /// The pages of the site that is current when a request is answered.
    pub fn new(current: F) -> Self {
        Self { current }
    }
}

impl<F: Fn() -> Option<Arc<Site>> + Send + Sync> http::Site for Pages<F> {
    fn longest_body(&self, path: &str) -> usize {
        match Resource::of(path) {
            Some(Resource::Page | Resource::Mobileconfig) => LONGEST_FORM,
            Some(Resource::Autodiscover) => LONGEST_AUTODISCOVER,
            _ => 0,
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let Some(resource) = Resource::of(request.path()) else { return Response::not_found() };
        if let Some(allowed) = resource.refusal(&request) {
            return Response::method_not_allowed(allowed);
        }
        let Some(site) = (self.current)() else {
            return Response::text(StatusCode::NOT_FOUND, "there are no settings here any more");
        };
        match resource {
            Resource::Page => page(&site, &request),
            Resource::Style => asset("text/css; charset=utf-8", include_str!("style.css")),
            Resource::Script => asset("text/javascript; charset=utf-8", include_str!("script.js")),
            Resource::Autoconfig => answer_autoconfig(&site, &request),
            Resource::Autodiscover => answer_autodiscover(&site, &request),
            Resource::AutodiscoverJson => answer_autodiscover_json(&site, &request),
            Resource::Mobileconfig => answer_mobileconfig(&site, &request),
        }
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Page,
    Style,
    Script,
    Autoconfig,
    Autodiscover,
    AutodiscoverJson,
    Mobileconfig,
}

impl Resource {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/style.css" => Self::Style,
            "/script.js" => Self::Script,
            "/mail/config-v1.1.xml" | "/.well-known/autoconfig/mail/config-v1.1.xml" => {
                Self::Autoconfig
            }
            "/mail.mobileconfig" => Self::Mobileconfig,
            // Outlook varies the case of the letters.
            path if path.eq_ignore_ascii_case("/autodiscover/autodiscover.xml") => {
                Self::Autodiscover
            }
            path if path.eq_ignore_ascii_case("/autodiscover/autodiscover.json") => {
                Self::AutodiscoverJson
            }
            _ => return None,
        })
    }

    /// The methods that are allowed, if that of the request is not.
    fn refusal(self, request: &Request) -> Option<&'static str> {
        let (reads, posts) = (request.only_reads(), request.method() == Method::POST);
        let (is_allowed, allowed) = match self {
            Self::Page => (reads || posts, "GET, HEAD, POST"),
            Self::Autodiscover | Self::Mobileconfig => (posts, "POST"),
            Self::Style | Self::Script | Self::Autoconfig | Self::AutodiscoverJson => {
                (reads, "GET, HEAD")
            }
        };
        (!is_allowed).then_some(allowed)
    }
}

fn page(site: &Site, request: &Request) -> Response {
    let told = |name| {
        parameter(&form(request), name)
            .or_else(|| parameter(request.query().unwrap_or_default(), name))
    };
    let language = told("lang").as_deref().and_then(Language::by_tag);
    let language =
        language.unwrap_or_else(|| Language::accepted(request.header("accept-language")));
    let typed = if request.only_reads() { None } else { Some(told("address").unwrap_or_default()) };
    let program = told("program").as_deref().and_then(Program::by_name);
    let page = Page::new(site, language, typed.as_deref(), program);
    let status = if page.is_refused() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Response::new(status, "text/html; charset=utf-8", page.render())
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .with(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()))
        .with(VARY, HeaderValue::from_static("Accept-Language"))
}

/// A file that is the same for everybody, until the next version.
fn asset(content_type: &'static str, text: &'static str) -> Response {
    Response::new(StatusCode::OK, content_type, text)
        .with(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"))
}

fn answer_autoconfig(site: &Site, request: &Request) -> Response {
    let query = request.query().unwrap_or_default();
    let domain = match parameter(query, "emailaddress") {
        Some(address) => Address::parse(&address).map(|address| address.domain().clone()),
        // A client that keeps the address to itself asks a host of the domain.
        None => request
            .host()
            .and_then(|host| Domain::parse(host.strip_prefix("autoconfig.").unwrap_or(host))),
    };
    match domain.filter(|domain| site.has(domain)) {
        Some(domain) => Response::new(
            StatusCode::OK,
            "application/xml; charset=utf-8",
            autoconfig(site, &domain),
        ),
        None => Response::text(
            StatusCode::NOT_FOUND,
            "there are no settings for this domain; ask with ?emailaddress=USER@DOMAIN",
        ),
    }
}

fn answer_autodiscover(site: &Site, request: &Request) -> Response {
    let document = match request::autodiscover_address(request.body()) {
        Ok(address) if site.has(address.domain()) => autodiscover(site, &address),
        Ok(_) => autodiscover_error("there are no settings for this domain"),
        Err(error) => autodiscover_error(&error.to_string()),
    };
    Response::new(StatusCode::OK, "application/xml; charset=utf-8", document)
}

/// Version 2 of autodiscover, in which a client asks where version 1 is.
fn answer_autodiscover_json(site: &Site, request: &Request) -> Response {
    let protocol = parameter(request.query().unwrap_or_default(), "Protocol");
    let (status, document) = match protocol {
        Some(protocol) if protocol.eq_ignore_ascii_case("AutodiscoverV1") => {
            let url = format!("https://{}/autodiscover/autodiscover.xml", site.web_host());
            (StatusCode::OK, serde_json::json!({ "Protocol": "AutodiscoverV1", "Url": url }))
        }
        _ => (
            StatusCode::BAD_REQUEST,
            serde_json::json!({
                "ErrorCode": "InvalidProtocol",
                "ErrorMessage": "the only protocol here is AutodiscoverV1",
            }),
        ),
    };
    Response::new(status, "application/json; charset=utf-8", document.to_string())
}

fn answer_mobileconfig(site: &Site, request: &Request) -> Response {
    let address = parameter(&form(request), "address");
    let address = address.as_deref().and_then(Address::parse);
    let address = address.filter(|address| site.has(address.domain()));
    let profile = address.and_then(|address| mobileconfig(site, address.domain(), Some(&address)));
    match profile {
        Some(profile) => Response::new(StatusCode::OK, "application/x-apple-aspen-config", profile)
            .with(
                CONTENT_DISPOSITION,
                HeaderValue::from_static("attachment; filename=\"mail.mobileconfig\""),
            ),
        None => Response::text(
            StatusCode::UNPROCESSABLE_ENTITY,
            "there are no settings for this address; post address=USER@DOMAIN",
        ),
    }
}

/// The fields of a form that was posted.
fn form(request: &Request) -> Cow<'_, str> {
    String::from_utf8_lossy(request.body())
}

/// Everything comes from here, and nothing may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The longest form, in octets, and the longest request of autodiscover.
const LONGEST_FORM: usize = 4 << 10;
const LONGEST_AUTODISCOVER: usize = 8 << 10;

#[cfg(test)]
mod tests;
