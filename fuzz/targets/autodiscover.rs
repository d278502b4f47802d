//! The XML of autodiscover, as the body of a request: every request has one answer, which is either
//! the settings for an address or an error, and is itself XML.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use restante::client_settings::Site;
use restante::config::Config;
use restante::http::serve;
use restante::web::Pages;
use restante_fuzz::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

fuzz_target!(|body: &[u8]| {
    let answer = ask(body);
    let (head, document) = answer.split_once("\r\n\r\n").expect("a whole answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let is_error = document.contains("<ErrorCode>600</ErrorCode>");
    assert_ne!(is_error, document.contains("<LoginName>"), "{document}");
    roxmltree::Document::parse(document).expect("XML");
});

/// The answer to a request with this body.
fn ask(body: &[u8]) -> String {
    let head = format!(
        "POST /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Clock::Paused.block_on(async {
        let (mut client, server) = duplex(64 * 1024);
        let pages = Pages::new(|| Some(Arc::clone(&SITE)));
        let peer = "192.0.2.1:1".parse().expect("an address");
        let mut answer = String::new();
        let asking = async {
            client.write_all(head.as_bytes()).await.expect("a server that reads");
            client.write_all(body).await.expect("a server that reads");
            client.read_to_string(&mut answer).await.expect("an answer in UTF-8");
        };
        tokio::join!(serve(server, peer, &pages), asking);
        answer
    })
}

static SITE: LazyLock<Arc<Site>> = LazyLock::new(|| {
    let text = r#"
        hostname = "pop.example.org"
        listen = [{ address = "[::]:995", tls = "implicit" }]
        tls = { certificate = "a", private-key = "b" }
        maildir = { path = "{user}" }
        credentials = [{ kind = "file", path = "users" }]
        client-settings = { smtp = { host = "smtp.example.org" } }
    "#;
    let config = Config::parse(text, Path::new("")).expect("a configuration");
    Arc::new(Site::of(&config).expect("settings"))
});
