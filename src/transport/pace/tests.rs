#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::{cell::RefCell, future::pending, net::SocketAddr, time::Instant};

use actix_http::{Error, HttpService, Protocol};
use actix_service::{fn_factory, fn_service};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;

const SOON: Duration = Duration::from_secs(10);
/// What the pipe to the connection holds.
const PIPE: usize = 1024;

/// What the application was asked, in order: method, path and body.
type Seen = Rc<RefCell<Vec<String>>>;

/// Answers by the path: `/never` does not, `/unread` does not read the body, `/large` is a lot.
async fn answer(mut request: Request, seen: Seen) -> Result<Response<Bytes>, Error> {
    let path = request.path().to_owned();
    let mut body = Vec::new();
    if path != "/unread" {
        let mut payload = request.take_payload();
        while let Some(piece) = payload.next().await {
            body.extend_from_slice(&piece.unwrap());
        }
    }
    let line = format!("{} {path} {}", request.method(), String::from_utf8_lossy(&body));
    seen.borrow_mut().push(line.clone());
    match path.as_str() {
        "/never" => pending().await,
        "/large" => Ok(Response::ok().set_body(vec![b'x'; 1024 * 1024].into())),
        _ => Ok(Response::ok().set_body(line.into())),
    }
}

/// A connection, and its work; which yields how it ended.
async fn connection(
    patience: Duration,
) -> (DuplexStream, Seen, tokio::task::JoinHandle<Result<(), String>>) {
    let seen = Seen::default();
    let asked = seen.clone();
    let http = HttpService::build()
        .on_connect_ext(|io: &Paced<DuplexStream>, data| drop(data.insert(io.pace())))
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .upgrade(fn_factory(|| async {
            Ok::<_, ()>(fn_service(
                |(_, framed): (Request, Framed<Paced<DuplexStream>, _>)| async {
                    // Everything behind the request comes back.
                    let parts = upgraded(framed).into_parts();
                    let mut io = parts.io;
                    let _ = io.write_all(&parts.read_buf).await;
                    let (mut read, mut write) = split(io);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    Ok::<_, Error>(())
                },
            ))
        }))
        .finish(keeping(fn_factory(move || {
            let seen = asked.clone();
            async { Ok::<_, ()>(fn_service(move |request| answer(request, seen.clone()))) }
        })));
    let service = http.new_service(()).await.unwrap();
    let (client, io) = duplex(PIPE);
    let io = (Paced::new(io, patience), Protocol::Http1, None::<SocketAddr>);
    let work = actix_rt::spawn(async move { service.call(io).await.map_err(|e| e.to_string()) });
    (client, seen, work)
}

/// Requests of every kind, and what the application makes of them.
fn requests() -> (String, Vec<&'static str>) {
    let bytes = "GET /a HTTP/1.1\r\nhost: h\r\n\r\n\
        POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nb\n\r\nb\
        POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nc\n\n\r\n2\r\ncc\r\n0\r\n\r\n\
        POST /d HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n\
        GET /e HTTP/1.1\nhost: h\n\n\
        POST /unread HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n\
        POST /f HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nf\
        GET /last HTTP/1.1\r\nhost: h\r\n\r\n";
    let seen = vec![
        "GET /a ",
        "POST /b b\n\r\nb",
        "POST /c c\n\ncc",
        "POST /d ",
        "GET /e ",
        "POST /unread ",
        "POST /f f",
        "GET /last ",
    ];
    (bytes.to_owned(), seen)
}

#[actix_web::test]
async fn what_is_sent_ahead_is_answered_in_order_however_it_is_cut() {
    let (bytes, expected) = requests();
    for piece in 1..=bytes.len() {
        let (mut client, seen, work) = connection(SOON).await;
        let sent = async {
            for piece in bytes.as_bytes().chunks(piece) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut answers = String::new();
            while !answers.ends_with("GET /last ") {
                let mut more = [0; 4096];
                let n = client.read(&mut more).await.unwrap();
                assert_ne!(n, 0, "{answers}");
                answers.push_str(std::str::from_utf8(&more[..n]).unwrap());
            }
            answers
        };
        let answers = tokio::time::timeout(SOON, sent).await.expect("all are answered");
        assert_eq!(*seen.borrow(), expected, "in pieces of {piece}");
        assert_eq!(answers.matches("HTTP/1.1 200").count(), expected.len());
        drop(client);
        work.await.unwrap().unwrap();
    }
}

/// Writes until nothing more is taken; how much was.
async fn flood(client: &mut DuplexStream, first: &str) -> usize {
    let more = "GET /a HTTP/1.1\r\nhost: h\r\n\r\n".repeat(100);
    let mut taken = 0;
    for piece in std::iter::once(first).chain(std::iter::repeat(more.as_str())) {
        let sent = client.write_all(piece.as_bytes());
        if tokio::time::timeout(Duration::from_millis(100), sent).await.is_err() {
            return taken;
        }
        taken += piece.len();
        assert!(taken < 1024 * 1024, "{first}: everything is read");
    }
    taken
}

#[actix_web::test]
async fn nothing_more_is_read_while_a_request_is_answered() {
    for first in [
        "GET /never HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /never HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab",
        "POST /never HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        // Nobody takes the answer.
        "GET /large HTTP/1.1\r\nhost: h\r\n\r\n",
    ] {
        let (mut client, seen, _work) = connection(SOON).await;
        let taken = flood(&mut client, first).await;
        assert!(taken <= PIPE + 2 * PIECE + first.len(), "{first}: {taken} bytes were read");
        assert_eq!(seen.borrow().len(), 1, "{first}");
    }
}

#[actix_web::test]
async fn a_large_chunked_body_is_read_to_its_end() {
    let (mut client, seen, _work) = connection(SOON).await;
    let head = "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..100 {
        let sent = client.write_all(chunk.as_bytes());
        tokio::time::timeout(SOON, sent).await.expect("it is read").unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(seen.borrow()[0].len(), "POST /a ".len() + 100 * 0x1000);
}

#[test]
fn ends_are_found_however_the_bytes_are_cut() {
    let bodies = [
        "0\r\n\r\n",
        "1\r\nx\r\n000;a=b\r\n\r\n",
        "A ;x=\"0\"\r\n0\r\n\r\n01234\r\n1a\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\nx: y\r\n\r\n",
        "2\n\n\n\r\n0\n\n",
    ];
    for body in bodies {
        let all = format!("{body}0\r\n\r\n");
        for first in 0..all.len() {
            let (head, tail) = all.as_bytes().split_at(first);
            let mut chunks = Chunks::Size(0);
            let end = chunks.end(head).or_else(|| chunks.end(tail).map(|end| first + end));
            assert_eq!(end, Some(body.len()), "{body:?} cut at {first}");
        }
    }
    let mut head = Head::Before;
    assert_eq!(head.end(b"\r\n\n\n\r\nGET / HTTP/1.1\r\n\rx: y\n\r"), None);
    assert_eq!(head.end(b"\nGET"), Some(1));
    // More than can be counted is a body without an end.
    let mut chunks = Chunks::Size(0);
    assert_eq!(chunks.end(format!("{}\r\n0\r\n\r\n", "f".repeat(40)).as_bytes()), None);
}

#[actix_web::test]
async fn the_end_is_noticed_while_a_request_is_answered() {
    let (mut client, seen, work) = connection(SOON).await;
    client.write_all(b"GET /never HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let asked = async {
        while seen.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, asked).await.expect("it is asked");
    drop(client);
    tokio::time::timeout(SOON, work).await.expect("it ends").unwrap().unwrap();
}

#[actix_web::test]
async fn who_takes_nothing_is_cut_and_who_takes_a_little_is_not() {
    let (mut client, _, work) = connection(Duration::from_millis(200)).await;
    client.write_all(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let mut some = [0; 64 * 1024];
    let mut all = 0;
    while began.elapsed() < Duration::from_millis(600) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        all += client.read(&mut some[..1000]).await.unwrap();
    }
    assert!(!work.is_finished(), "after {all} bytes");
    let ended = tokio::time::timeout(SOON, work).await.expect("it ends").unwrap();
    assert!(ended.is_err_and(|e| e.contains("timed out")));
}

#[actix_web::test]
async fn an_upgrade_gets_what_came_behind_it() {
    let behind = "x".repeat(10_000);
    let head = "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (client, _, _work) = connection(SOON).await;
    let (mut read, mut write) = split(client);
    let all = format!("{head}{behind}");
    actix_rt::spawn(async move { write.write_all(all.as_bytes()).await });
    let mut back = vec![0; behind.len()];
    tokio::time::timeout(SOON, read.read_exact(&mut back)).await.expect("it comes").unwrap();
    assert_eq!(back, behind.as_bytes());
}
