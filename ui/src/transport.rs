//! How requests reach the server.

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Acts.
    Post,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its work.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// The body; empty without one.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub bytes: Vec<u8>,
}

/// What hears the reply; the error says why nobody answered.
pub type Done = Box<dyn FnOnce(Result<Reply, String>) + Send>;

/// A way to the server.
pub trait Transport: Send + Sync {
    /// Sends without waiting; `done` is called later, on any thread.
    fn send(&self, request: Request, done: Done);
}

/// HTTP; `base` is empty in a browser, where paths are relative to the page.
pub struct HttpTransport {
    /// Scheme and host, without a slash at the end.
    pub base: String,
}

impl Transport for HttpTransport {
    fn send(&self, request: Request, done: Done) {
        let method = match request.method {
            Method::Get => ehttp::Method::GET,
            Method::Post => ehttp::Method::POST,
            Method::Patch => ehttp::Method::PATCH,
            Method::Delete => ehttp::Method::DELETE,
        };
        let url = format!("{}{}", self.base, request.path);
        let headers = [("Accept", "*/*"), ("Content-Type", "application/json")];
        let mut http = ehttp::Request::new(method, url, &headers).with_body(request.body).with_timeout(None);
        with_cookies(&mut http);
        ehttp::fetch(http, move |answer| {
            done(answer.map(|answer| Reply { status: answer.status, bytes: answer.bytes }))
        });
    }
}

/// In a browser the server's token travels as a cookie.
#[cfg(target_arch = "wasm32")]
fn with_cookies(request: &mut ehttp::Request) {
    request.credentials = ehttp::Credentials::SameOrigin;
}

#[cfg(not(target_arch = "wasm32"))]
fn with_cookies(_request: &mut ehttp::Request) {}
