//! A connection with clients of all kinds, in memory and with paused time.

use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::{Request, Response, Site, serve};

/// Repeats what it is sent.
struct Echo;

impl Site for Echo {
    fn longest_body(&self, path: &str) -> usize {
        if path == "/long" { 10 } else { 0 }
    }

    async fn answer(&self, request: Request) -> Response {
        if request.path() == "/for-ever" {
            std::future::pending::<()>().await;
        }
        let body = str::from_utf8(request.body()).unwrap();
        let (path, query) = (request.path(), request.query().unwrap_or_default());
        Response::text(StatusCode::OK, format!("{} {path} {query} {body}", request.method()))
    }
}

/// The client's end of a connection to [`Echo`].
fn connect() -> DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async { serve(server, "192.0.2.1:1".parse().unwrap(), &Echo).await });
    client
}

/// All that the server sends to a client that sends this and then waits.
async fn said_to(sent: impl AsRef<[u8]>) -> String {
    let mut client = connect();
    // The server may close the connection before it has read all of it.
    client.write_all(sent.as_ref()).await.ok();
    rest(&mut client).await
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.ok();
    String::from_utf8(said).unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order_on_one_connection() {
    let said = said_to(
        "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n\
         POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd\
         HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{said}");
    assert!(said.contains("\r\n\r\nGET /a b=c \nHTTP"), "{said}");
    assert!(said.contains("\r\n\r\nPOST /long  abcd\nHTTP"), "{said}");
    assert!(said.ends_with("\r\n\r\n"), "HEAD has no body: {said}");
}

#[tokio::test(start_paused = true)]
async fn malformed_and_long_requests_are_refused() {
    let fields = |count: usize| "A: b\r\n".repeat(count);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(1 << 20)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(100)), 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned(), 413),
        ("POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world".to_owned(), 413),
        (
            "POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             b\r\nhello world\r\n0\r\n\r\n"
                .to_owned(),
            413,
        ),
        (
            "POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
            400,
        ),
        // Two lengths that differ.
        (
            "POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"
                .to_owned(),
            400,
        ),
        ("POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nxy".to_owned(), 400),
    ] {
        let said = said_to(&request).await;
        let start = request.get(..60).unwrap_or(&request);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{start:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "the connection is closed: {start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_within_a_body_is_not_served() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked, identity\r\nContent-Length: 4",
        "Transfer-Encoding : chunked\r\nContent-Length: 4",
        "Content-Length: +4",
        "Content-Length: 4, 4\r\nTransfer-Encoding: xchunked",
    ] {
        let body = format!("0\r\n\r\n{smuggled}");
        let said = said_to(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")).await;
        assert!(!said.contains("GET /smuggled"), "{fields}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_clients_and_answers_have_limited_time() {
    let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (sent, expected, most) in [
        // Nothing, half a head, and nothing after an answer.
        ("", "", 10),
        ("GET / HTTP/1.1\r\nHost", "", 10),
        (whole, "HTTP/1.1 200 ", 10),
        ("POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", "HTTP/1.1 408 ", 10),
        ("GET /for-ever HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 503 ", 20),
    ] {
        let began = Instant::now();
        let said = said_to(sent).await;
        assert!(said.starts_with(expected), "{sent:?}: {said}");
        assert!(began.elapsed() <= Duration::from_secs(most), "{sent:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_or_reads_octet_by_octet_is_cut_off() {
    let began = Instant::now();
    let mut slow = connect();
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut unread = connect();
    unread.write_all(request.repeat(900).as_bytes()).await.unwrap();
    for octet in request.repeat(9).bytes() {
        if slow.write_all(&[octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        unread.read_u8().await.ok();
    }
    slow.shutdown().await.unwrap();
    rest(&mut slow).await;
    assert!(began.elapsed() < Duration::from_secs(70), "{:?}", began.elapsed());
    // What the server has sent before is still there, but no answer more.
    let said = rest(&mut unread).await;
    assert!(said.matches("HTTP/1.1 200").count() < 900);
}
