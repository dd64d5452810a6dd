//! Hostile requests as they come over TCP: from names and pages of somebody else's, and with bodies that are not what they
//! say. `PROPTEST_CASES=20000` makes a long run of it.

use crate::mlflow::hostile::{Hunted, runner};
use crate::{Access, listen, serve};
use assay_protocol::path;
use axum::http::Method;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A workspace that is served on loopback.
struct Served {
    hunted: Hunted,
    address: SocketAddr,
}

/// What is done with a connection once the request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// It waits for the answer.
    Listen,
    /// It says that nothing more comes, which breaks off what is not whole.
    Stop,
}

impl Served {
    fn new() -> Served {
        let hunted = Hunted::new();
        let listener = hunted.runtime.block_on(listen(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("an address");
        let address = listener.local_addr().expect("an address");
        hunted.runtime.spawn(serve(hunted.door.clone(), listener, Access::Loopback, std::future::pending()));
        Served { hunted, address }
    }

    /// Sends bytes on a connection of their own; the status and the body of the answer, where there is one.
    fn send(&self, bytes: &[u8], then: Then) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
        let sent = stream.write_all(bytes); // it may have refused what it saw, and be gone
        if sent.is_err() || then == Then::Stop && stream.shutdown(Shutdown::Write).is_err() {
            return None;
        }
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let waits = ended.is_err_and(|why| matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!waits, "neither an answer nor an end: {}", String::from_utf8_lossy(bytes));
        let text = String::from_utf8_lossy(&answer);
        let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        Some((status, body.unwrap_or_default()))
    }

    /// A point for a run, from a page of this server, with the body's length as it is.
    fn log(&self, run: &str) -> Vec<u8> {
        let body = json!({ "run_id": run, "key": "a", "value": 1, "timestamp": 1, "step": 1 }).to_string();
        let head = format!(
            "POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        [head, body].concat().into_bytes()
    }

    /// Looks at everything once more, also whether who may ask is answered.
    fn end(self) {
        let answered = self.send(&self.log(&self.hunted.run), Then::Listen);
        assert!(matches!(answered, Some((200, _))), "{answered:?}");
        self.hunted.is_whole().unwrap_or_else(|why| panic!("{why}"));
        self.hunted.runtime.block_on(self.hunted.door.close());
    }
}

/// A part of a name, or a name, that looks like this machine's.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "evil.example",
        "0.0.0.0",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "localhost.",
        "null",
        "user@",
        ".",
        "",
    ];
    prop_oneof![4 => select(known.to_vec()).prop_map(str::to_owned), 1 => "[!-~]{0,20}"]
}

fn port() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), (0..70_000u32).prop_map(|port| format!(":{port}")), ":[!-~]{0,6}"]
}

fn host() -> impl Strategy<Value = String> {
    (prop::collection::vec(name(), 1..3), port()).prop_map(|(names, port)| names.concat() + &port)
}

#[test]
fn no_name_and_no_page_of_somebody_else_comes_in() {
    let served = Served::new();
    let (address, kept) = (served.address.to_string(), served.hunted.kept.clone());
    let own = [address.clone(), format!("localhost:{}", served.address.port())];
    let hosts = prop_oneof![1 => select(own.to_vec()), 2 => host()];
    let scheme = select(vec!["http://", "https://", "file://", "chrome-extension://", "://", ""]);
    let origins = prop::option::of((scheme, prop_oneof![1 => select(own.to_vec()), 2 => host()]));
    let methods = select(vec![Method::POST, Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS]);
    let body = json!({ "run_id": kept, "key": "a", "value": 7, "timestamp": 7, "step": 7 }).to_string();
    runner()
        .run(&(methods, hosts, origins), |(method, host, origin)| {
            let origin = origin.map(|(scheme, of)| format!("{scheme}{of}"));
            // A name is this machine's with any port; a page is this server's with the very port that is asked.
            let (name, port) = host.rsplit_once(':').unwrap_or((&host, ""));
            let (name, port) = if name == "[:" { (host.as_str(), "") } else { (name, port) };
            let is_own = ["localhost", "127.0.0.1", "[::1]"].contains(&name)
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && origin.as_ref().is_none_or(|origin| origin.split_once("://").is_some_and(|(_, of)| of == host));
            if is_own {
                return Ok(());
            }
            let from = origin.as_ref().map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
            let request = format!(
                "{method} /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: {host}\r\n{from}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answered = served.send(request.as_bytes(), Then::Listen);
            prop_assert!(matches!(answered, Some((400 | 403, _))), "{method} {host} {origin:?}: {answered:?}");
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    served.end();
}

#[test]
fn no_length_and_no_framing_of_a_body_makes_it_fail() {
    let served = Served::new();
    let whole = String::from_utf8(served.log(&served.hunted.run)).expect("text");
    let (_, body) = whole.split_once("\r\n\r\n").expect("a body");
    let lengths = prop_oneof![
        3 => (0..2 * body.len()).prop_map(|length| format!("Content-Length: {length}")),
        1 => any::<i128>().prop_map(|length| format!("Content-Length: {length}")),
        1 => "Content-Length: [!-~]{0,12}",
        1 => Just("Content-Length: 3\r\nContent-Length: 4".to_owned()),
        3 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => Just("Transfer-Encoding: chunked\r\nContent-Length: 7".to_owned()),
        1 => Just("Transfer-Encoding: gzip, chunked".to_owned()),
        1 => Just("Content-Encoding: gzip".to_owned()),
        1 => "[!-~]{1,20}: [ -~]{0,20}",
        1 => (1..200_000usize).prop_map(|length| format!("X: {}", "x".repeat(length))),
    ];
    let whole_chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let chunked = format!("{whole_chunk}0\r\n\r\n");
    let chunk = prop_oneof![
        3 => Just(whole_chunk.clone()),
        1 => (any::<u128>(), "[ -~]{0,20}").prop_map(|(length, piece)| format!("{length:x}\r\n{piece}\r\n")),
        1 => "[!-~]{0,8}\r\n",
    ];
    let bodies = prop_oneof![
        2 => Just(body.to_owned()),
        3 => prop::collection::vec(chunk, 0..3).prop_map(|chunks| chunks.concat() + "0\r\n\r\n"),
    ];
    let starts = prop_oneof![
        8 => Just("POST /api/2.0/mlflow/runs/log-metric HTTP/1.1".to_owned()),
        1 => Just("POST /api/2.0/mlflow/runs/log-metric HTTP/1.0".to_owned()),
        1 => "[!-~]{0,10} [!-~]{0,40} HTTP/[0-9].[0-9]",
    ];
    runner()
        .run(&(starts, lengths, bodies), |(start, length, body)| {
            let request = format!("{start}\r\nHost: {}\r\nConnection: close\r\n{length}\r\n\r\n{body}", served.address);
            // Who says that more comes than is sent is waited for.
            let declared = length.strip_prefix("Content-Length: ").and_then(|length| length.parse::<u64>().ok());
            let is_whole = match length.contains("chunked") {
                true => body == chunked,
                false => declared.is_none_or(|declared| declared <= body.len() as u64),
            };
            let answered = served.send(request.as_bytes(), if is_whole { Then::Listen } else { Then::Stop });
            prop_assert!(
                answered.as_ref().is_none_or(|(status, _)| *status < 500 || *status == 501),
                "{request}: {answered:?}"
            );
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    served.end();
}

#[test]
fn a_body_larger_than_is_read_is_refused_with_words() {
    let hunted = Hunted::new();
    let places = [("/api/2.0/mlflow/runs/log-batch", 32usize << 20), (path::MERGE, 256 << 20)];
    let config = ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&(select(places.to_vec()), 1..1usize << 20, any::<u8>()), |((address, most), more, byte)| {
            let (status, answer) = hunted.send(&Method::POST, address, vec![byte; most + more]);
            let why = answer["message"].as_str().unwrap_or_default();
            prop_assert!(status == 400 && why.contains("send less at once"), "{address}: {status} {answer}");
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    hunted.is_whole().unwrap_or_else(|why| panic!("{why}"));
    hunted.runtime.block_on(hunted.door.close());
}
