//! Who may ask: on loopback, pages of this machine's own server; on any other address, who has the token.

use crate::Door;
use assay_protocol::{ErrorBody, ErrorCode};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// Who may come through a door.
#[derive(Clone, Debug)]
pub enum Access {
    /// Who asks for this machine by one of its loopback names, and pages that came from there.
    Loopback,
    /// Who shows this token, as `Authorization: Bearer`, as `?token=` or as the cookie that it sets.
    Token(String),
}

/// The door behind the guard.
pub(crate) fn guarded(door: Door, access: Access) -> Router {
    let call = move |request: Request| {
        let door = door.clone();
        async move { door.pass(request).await }
    };
    Router::new().fallback(call).layer(from_fn_with_state(access, check)).layer(DefaultBodyLimit::disable())
}

async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    match &access {
        Access::Loopback => match refused_on_loopback(request.method(), request.headers()) {
            Some(error) => refusal(&error),
            None => next.run(request).await,
        },
        Access::Token(token) => {
            let asked =
                request.uri().query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
            let by_query = asked.is_some_and(|asked| same(asked, token));
            if !by_query && !shows(request.headers(), token) {
                return refusal(&ErrorBody::new(
                    ErrorCode::Unauthorized,
                    "this server wants its token: open the address that it printed at its start, or send \
                     Authorization: Bearer TOKEN",
                ));
            }
            if let Some(error) = cross_site_write(request.method(), request.headers()) {
                return refusal(&error);
            }
            let mut response = next.run(request).await;
            if by_query
                && let Ok(cookie) =
                    HeaderValue::from_str(&format!("assay_token={token}; HttpOnly; SameSite=Strict; Path=/"))
            {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
    }
}

/// A page elsewhere may make a browser send requests here (cross-site writes), or make a name of its own point here
/// (DNS rebinding); neither gets through.
fn refused_on_loopback(method: &Method, headers: &HeaderMap) -> Option<ErrorBody> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !matches!(name_of(host), "localhost" | "127.0.0.1" | "[::1]") {
        let message = format!("this server answers to localhost only, not to {host:?}");
        return Some(ErrorBody::new(ErrorCode::Forbidden, message));
    }
    cross_site_write(method, headers)
}

fn cross_site_write(method: &Method, headers: &HeaderMap) -> Option<ErrorBody> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or("null");
    let same_site = origin.split_once("://").is_some_and(|(_, of_origin)| of_origin == host);
    let foreign = || ErrorBody::new(ErrorCode::Forbidden, format!("requests from pages of {origin} are refused"));
    (!same_site || method == Method::OPTIONS).then(foreign)
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cookie = cookies.split(';').find_map(|pair| pair.trim().strip_prefix("assay_token="));
    bearer.into_iter().chain(cookie).any(|shown| same(shown, token))
}

/// Compares without telling by its duration how much was right.
fn same(shown: &str, token: &str) -> bool {
    shown.len() == token.len() && shown.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn refusal(error: &ErrorBody) -> Response {
    crate::api::failure(error).map(Body::new).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn refused(pairs: &[(HeaderName, &str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        refused_on_loopback(&Method::POST, &headers).is_some()
    }

    #[test]
    fn only_this_machine_by_its_own_names_may_ask() {
        assert!(!refused(&[(HOST, "127.0.0.1:5151")]));
        assert!(!refused(&[(HOST, "localhost:5151"), (ORIGIN, "http://localhost:5151")]));
        assert!(!refused(&[(HOST, "[::1]:5151")]));
        assert!(refused(&[(HOST, "evil.example:5151")]), "DNS rebinding");
        assert!(refused(&[(HOST, "127.0.0.1:5151"), (ORIGIN, "http://evil.example")]), "a cross-site write");
        assert!(refused(&[(HOST, "127.0.0.1:5151"), (ORIGIN, "null")]));
        assert!(
            refused(&[(HOST, "127.0.0.1:5151"), (ORIGIN, "http://127.0.0.1:8080")]),
            "another server of this machine"
        );
        assert!(refused(&[]));
    }

    #[test]
    fn a_token_is_taken_from_header_or_cookie() {
        let of = |name, value: &str| HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        assert!(shows(&of(AUTHORIZATION, "Bearer abc"), "abc"));
        assert!(shows(&of(COOKIE, "x=1; assay_token=abc"), "abc"));
        assert!(!shows(&of(AUTHORIZATION, "Bearer abd"), "abc"));
        assert!(!shows(&HeaderMap::new(), "abc"));
    }
}
