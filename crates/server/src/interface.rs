//! The built interface, out of the program itself.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{Request, Response, StatusCode};
use std::io::Read;

mod built {
    include!(concat!(env!("OUT_DIR"), "/interface.rs"));
}

/// What a page of this server may do: nothing but talk to this server.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' blob: data:; connect-src 'self' ipc: http://ipc.localhost; frame-ancestors 'none'; base-uri 'none'";

const UNBUILT: &str = "<!doctype html><title>Assay</title><p>This program was built without its interface. \
    Build it with <code>cargo xtask build-ui</code>, then build the program again.";

/// The file of the interface at the request's path; every other path is a place within the interface.
pub(crate) async fn file(request: Request<Body>) -> Response<Body> {
    let name = request.uri().path().trim_start_matches('/');
    let find = |name: &str| built::FILES.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes);
    let packed = find(&format!("{name}.gz"));
    let (name, plain) = match (find(name), &packed) {
        (None, None) => ("index.html", find("index.html")),
        (plain, _) => (name, plain),
    };
    let response = Response::builder().header(CONTENT_SECURITY_POLICY, POLICY).header(CONTENT_TYPE, kind(name));
    let response = response.header("x-content-type-options", "nosniff").header(CACHE_CONTROL, "no-cache");
    let accepts = |header, word: &str| {
        request.headers().get(header).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(word))
    };
    // The files of one build never change, so its size names them well enough beside the version.
    let tag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), packed.or(plain).map_or(0, fingerprint));
    let response = response.header(ETAG, &tag);
    let made = if accepts(IF_NONE_MATCH, &tag) {
        response.status(StatusCode::NOT_MODIFIED).body(Body::empty())
    } else if let Some(packed) = packed {
        if accepts(ACCEPT_ENCODING, "gzip") {
            response.header(CONTENT_ENCODING, "gzip").body(Body::from(packed))
        } else {
            let mut bytes = Vec::new();
            match flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes) {
                Ok(_) => response.body(Body::from(bytes)),
                Err(_) => response.status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()),
            }
        }
    } else {
        response.body(plain.map_or_else(|| Body::from(UNBUILT), Body::from))
    };
    made.unwrap_or_default()
}

/// FNV-1a, 64 bits.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
