//! Whole requests, answered over HTTP on a stream in memory.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::config::Config;
use crate::http::serve;

fn site(more: &str) -> Option<Arc<Site>> {
    let text = format!(
        r#"
        hostname = "pop.example.org"
        listen = [{{ address = "[::]:995", tls = "implicit" }}]
        tls = {{ certificate = "a", private-key = "b" }}
        maildir = {{ path = "{{user}}" }}
        credentials = [{{ kind = "file", path = "users" }}]
        [client-settings]
        smtp = {{ host = "smtp.example.org" }}
        {more}
        "#
    );
    Site::of(&Config::parse(&text, Path::new("")).unwrap()).map(Arc::new)
}

/// The whole response to a request.
async fn response(more: &str, head: &str, body: &str) -> String {
    let site = site(more);
    let pages = Pages::new(move || site.clone());
    let (mut client, server) = duplex(64 << 10);
    let length = body.len();
    let head = if head.contains("Host:") {
        head.to_owned()
    } else {
        format!("{head}\r\nHost: mail.example.org")
    };
    let request = format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    client.write_all(request.as_bytes()).await.unwrap();
    serve(server, "192.0.2.1:1".parse().unwrap(), &pages).await;
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    response
}

async fn get(path: &str) -> String {
    response("domains = [\"example.org\"]", &format!("GET {path} HTTP/1.1"), "").await
}

async fn post(path: &str, body: &str) -> String {
    response("domains = [\"example.org\"]", &format!("POST {path} HTTP/1.1"), body).await
}

#[tokio::test]
async fn thunderbird_finds_its_document() {
    for path in [
        "/mail/config-v1.1.xml?emailaddress=mrose%40example.org",
        "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=mrose@EXAMPLE.org",
    ] {
        let found = get(path).await;
        assert!(found.starts_with("HTTP/1.1 200 "), "{found}");
        assert!(found.contains("content-type: application/xml"), "{found}");
        assert!(found.contains("<incomingServer type=\"pop3\">"), "{found}");
    }
    let by_host = "GET /mail/config-v1.1.xml HTTP/1.1\r\nHost: autoconfig.example.org";
    assert!(response("", by_host, "").await.contains("<domain>example.org</domain>"));
}

#[tokio::test]
async fn other_domains_have_no_document() {
    for path in [
        "/mail/config-v1.1.xml?emailaddress=mrose%40example.com",
        "/mail/config-v1.1.xml?emailaddress=mrose",
        "/mail/config-v1.1.xml?emailaddress=",
        "/mail/config-v1.1.xml",
        "/mail/../mail/config-v1.1.xml?emailaddress=mrose@example.org",
        "/mail/config-v1.1.xml/",
        "/%6dail/config-v1.1.xml?emailaddress=mrose@example.org",
        "/etc/passwd",
        "//style.css",
    ] {
        let found = get(path).await;
        assert!(found.starts_with("HTTP/1.1 404 "), "{path}: {found}");
    }
}

#[tokio::test]
async fn outlook_finds_its_document_whatever_the_case() {
    let body = "<Autodiscover><Request><EMailAddress>mrose@example.org</EMailAddress></Request></Autodiscover>";
    for path in [
        "/autodiscover/autodiscover.xml",
        "/Autodiscover/Autodiscover.xml",
        "/AUTODISCOVER/AUTODISCOVER.XML",
    ] {
        let found = post(path, body).await;
        assert!(found.contains("<LoginName>mrose@example.org</LoginName>"), "{found}");
    }
    let foreign = body.replace("example.org", "example.com");
    assert!(
        post("/autodiscover/autodiscover.xml", &foreign)
            .await
            .contains("<ErrorCode>600</ErrorCode>")
    );
    assert!(get("/autodiscover/autodiscover.xml").await.starts_with("HTTP/1.1 405 "));
    let huge = "a".repeat(LONGEST_AUTODISCOVER + 1);
    assert!(post("/autodiscover/autodiscover.xml", &huge).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn version_2_of_autodiscover_leads_to_the_configured_host() {
    let path = "/autodiscover/autodiscover.json?Email=mrose%40example.org&Protocol=AutodiscoverV1";
    let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example");
    let found = response("", &request, "").await;
    assert!(found.contains("\"https://pop.example.org/autodiscover/autodiscover.xml\""), "{found}");
    assert!(!found.contains("evil"), "{found}");
    assert!(get("/autodiscover/autodiscover.json?Protocol=EWS").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn the_profile_is_for_an_address_of_the_site() {
    let found = post("/mail.mobileconfig", "address=mrose%40example.org").await;
    assert!(found.contains("content-type: application/x-apple-aspen-config"), "{found}");
    assert!(found.contains("<string>mrose@example.org</string>"), "{found}");
    assert!(post("/mail.mobileconfig", "address=mrose%40a").await.starts_with("HTTP/1.1 422 "));
}

#[tokio::test]
async fn the_page_shows_the_settings_of_the_address() {
    let empty = get("/").await;
    assert!(empty.starts_with("HTTP/1.1 200 ") && !empty.contains("pop.example.org"), "{empty}");
    assert!(empty.contains("content-security-policy: default-src 'none'"), "{empty}");
    let full = post("/", "address=mrose%40example.org&program=apple&lang=de").await;
    for part in [
        "<html lang=\"de\">",
        ">pop.example.org<",
        ">995<",
        ">mrose@example.org<",
        "Profil herunterladen",
    ] {
        assert!(full.contains(part), "{part} in {full}");
    }
}

#[tokio::test]
async fn what_is_typed_is_escaped_and_a_wrong_address_is_explained() {
    let found = post("/", "address=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    assert!(found.starts_with("HTTP/1.1 422 ") && found.contains("id=\"fault\""), "{found}");
    assert!(!found.contains("<script>alert"), "{found}");
    let foreign = post("/", "address=mrose%40example.com").await;
    assert!(foreign.contains("no settings here for addresses of example.com"), "{foreign}");
}

#[tokio::test]
async fn the_language_is_negotiated() {
    let german = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: de-DE,en;q=0.5";
    assert!(response("", german, "").await.contains("<html lang=\"de\">"));
    assert!(get("/?lang=de").await.contains("content-language: de"));
}
