//! Files of clients, streamed piece by piece: at paths of their own, and as artifacts of runs.

use super::failure::{Code, Failure};
use super::fields::Fields;
use super::{Answer, endpoint, json, logged, registry, wire};
use crate::api::work;
use assay_engine::{Engine, EngineError, ListedFile};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::Response;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, get, post};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// A piece of a file that is sent.
const PIECE: usize = 256 << 10;

type Shared = State<Arc<Engine>>;

/// The routes that do not read and write JSON.
pub(super) fn router() -> Router<Arc<Engine>> {
    let mut router = Router::new().route("/get-artifact", get(download_of_run));
    // Clients join addresses with one slash or two.
    for address in ["/model-versions/get-artifact", "//model-versions/get-artifact"] {
        router = router.route(address, get(download_of_version));
    }
    for root in super::ROOTS {
        router = router.route(&format!("{root}/upload-artifact"), post(upload_of_run));
        router = router.route(&format!("{root}/logged-models/{{model_id}}/artifacts/files"), get(download_of_model));
    }
    for root in ["/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts"] {
        router = router
            .route(&format!("{root}/artifacts"), endpoint(MethodFilter::GET, list, None))
            .route(
                &format!("{root}/artifacts/{{*path}}"),
                endpoint(MethodFilter::DELETE, remove, None).get(download).put(upload),
            )
            .route(&format!("{root}/mpu/{{what}}/{{*path}}"), post(multipart));
    }
    router
}

/// Clients that ask for an upload in parts send the whole when they hear this.
async fn multipart() -> Response<Body> {
    Failure::new(Code::NotImplemented, "files are uploaded whole here, piece by piece").into_response()
}

fn listed(files: Vec<ListedFile>, prefix: &str) -> Value {
    let entry = |file: &ListedFile| {
        let path = if prefix.is_empty() { file.name.clone() } else { format!("{prefix}/{}", file.name) };
        match file.bytes {
            Some(bytes) => json!({ "path": path, "is_dir": false, "file_size": bytes }),
            None => json!({ "path": path, "is_dir": true }),
        }
    };
    files.iter().map(entry).collect()
}

fn list(engine: &Engine, fields: &Fields) -> Answer {
    let path = fields.text("path")?.unwrap_or_default();
    Ok(json!({ "files": listed(engine.list_files(&path)?, "") }))
}

/// The path of an artifact of a run among the files of clients; none where its experiment keeps them elsewhere.
fn path_in(engine: &Engine, uid: &str, path: &str) -> Answer<(String, String)> {
    let run = engine.run_head(uid)?;
    let location = wire::location(&engine.experiment(run.experiment)?);
    if path.split('/').any(|part| part == "..") || path.starts_with('/') {
        return Err(Failure::invalid("Invalid path"));
    }
    let root = wire::below(&location, &format!("{uid}/artifacts"));
    match location.strip_prefix("mlflow-artifacts:/") {
        Some(place) => {
            let folder = format!("{}/{uid}/artifacts", place.trim_matches('/'));
            let path = path.trim_matches('/');
            Ok((root, if path.is_empty() { folder } else { format!("{folder}/{path}") }))
        }
        None => Err(elsewhere(&location)),
    }
}

fn elsewhere(location: &str) -> Failure {
    Failure::new(
        Code::NotImplemented,
        format!("these artifacts are kept at {location}, which this server does not read"),
    )
}

pub(super) fn list_of_run(engine: &Engine, fields: &Fields) -> Answer {
    let path = fields.text("path")?.unwrap_or_default();
    let (root, place) = path_in(engine, &fields.run()?, &path)?;
    Ok(json!({ "root_uri": root, "files": listed(engine.list_files(&place)?, path.trim_matches('/')) }))
}

pub(super) fn list_of_model(engine: &Engine, fields: &Fields) -> Answer {
    let path = fields.text("artifact_directory_path")?.unwrap_or_default();
    let place = logged::path_of(engine, &fields.required("model_id")?, &path)?;
    Ok(json!({ "root_uri": "", "files": listed(engine.list_files(&place)?, path.trim_matches('/')) }))
}

async fn download_of_model(engine: Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> Response<Body> {
    let of_model =
        move |engine: &Engine, fields: &Fields| logged::path_of(engine, &id, &fields.required("artifact_file_path")?);
    sent_from(engine, query, of_model).await
}

async fn download_of_run(engine: Shared, RawQuery(query): RawQuery) -> Response<Body> {
    let of_run = |engine: &Engine, fields: &Fields| {
        let path = fields.required("path")?;
        path_in(engine, &fields.run()?, &path).map(|(_, place)| place)
    };
    sent_from(engine, query, of_run).await
}

async fn download_of_version(engine: Shared, RawQuery(query): RawQuery) -> Response<Body> {
    let of_version = |engine: &Engine, fields: &Fields| {
        let path = fields.required("path")?;
        if path.split('/').any(|part| part == "..") || path.starts_with('/') {
            return Err(Failure::invalid("Invalid path"));
        }
        let source = registry::source_of(engine, fields)?;
        let place = source.strip_prefix("mlflow-artifacts:/").ok_or_else(|| elsewhere(&source))?;
        Ok(format!("{}/{path}", place.trim_matches('/')))
    };
    sent_from(engine, query, of_version).await
}

/// Sends the file that a request names.
async fn sent_from(
    State(engine): Shared,
    query: Option<String>,
    place: impl FnOnce(&Engine, &Fields) -> Answer<String> + Send + 'static,
) -> Response<Body> {
    let fields = Fields::of_query(&query.unwrap_or_default());
    match work(engine.clone(), move |engine| Ok(place(engine, &fields))).await {
        Ok(Ok(place)) => sent(engine, place).await,
        Ok(Err(failure)) => failure.into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Files go to a run by its uid, too.
async fn upload_of_run(State(engine): Shared, RawQuery(query): RawQuery, body: Bytes) -> Response<Body> {
    let fields = Fields::of_query(&query.unwrap_or_default());
    let kept = work(engine, move |engine| {
        Ok((|| {
            let uid = fields.word("run_uuid")?;
            let uid = uid.ok_or_else(|| Failure::invalid("Request must specify run_uuid."))?;
            let path = fields.word("path")?;
            let path = path.ok_or_else(|| Failure::invalid("Request must specify path."))?;
            let (_, place) = path_in(engine, &uid, &path)?;
            if body.is_empty() {
                return Err(Failure::invalid("Request must specify data."));
            }
            let mut blob = engine.begin_file()?;
            blob.write(&body).map_err(EngineError::from)?;
            Ok(engine.keep_file(&place, blob)?)
        })())
    });
    match kept.await {
        Ok(Ok(())) => json(&json!({})),
        Ok(Err(failure)) => Failure::into_response(failure),
        Err(failure) => failure.into_response(),
    }
}

async fn download(State(engine): Shared, Path(path): Path<String>) -> Response<Body> {
    sent(engine, path).await
}

async fn sent(engine: Arc<Engine>, path: String) -> Response<Body> {
    let name = path.rsplit('/').next().unwrap_or_default().replace(['"', '\r', '\n'], "");
    let place = match work(engine, move |engine| Ok(engine.kept_file(&path))).await {
        Ok(Ok(place)) => place,
        Ok(Err(error)) => return Failure::from(error).into_response(),
        Err(failure) => return failure.into_response(),
    };
    let file = match tokio::fs::File::open(&place.0).await {
        Ok(file) => file,
        Err(why) => {
            let message = format!("a stored file cannot be read ({why}): assay doctor looks into it");
            return Failure::new(Code::InternalError, message).into_response();
        }
    };
    let pieces = futures_util::stream::try_unfold(file, async |mut file| {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, file)))
    });
    let response = Response::builder()
        .header(CONTENT_TYPE, kind_of(&name))
        .header(CONTENT_LENGTH, place.1)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        // What a client kept is a file to save, never a page of this server.
        .header(CONTENT_DISPOSITION, attachment(&name));
    response.body(Body::from_stream(pieces)).unwrap_or_default()
}

/// A name in quotes where it is no token (RFC 9110, section 5.6.2).
fn attachment(name: &str) -> String {
    let is_token = |sign: char| sign.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(sign);
    match !name.is_empty() && name.chars().all(is_token) {
        true => format!("attachment; filename={name}"),
        false => format!("attachment; filename=\"{}\"", name.escape_default()),
    }
}

/// What a file is by its name, as far as clients look at it.
fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "txt" | "log" | "md" | "py" | "yaml" | "yml" | "MLmodel" | "mlproject" | "MLproject" => "text/plain",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "html" => "text/html",
        "csv" => "text/csv",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

async fn upload(State(engine): Shared, Path(path): Path<String>, body: Body) -> Response<Body> {
    match received(engine, path, body).await {
        Ok(()) => json(&json!({})),
        Err(failure) => failure.into_response(),
    }
}

async fn received(engine: Arc<Engine>, path: String, body: Body) -> Answer<()> {
    let closed = |_| Failure::new(Code::TemporarilyUnavailable, "the server is closing");
    let (beginning, ending) = (engine.clone(), engine);
    let mut blob = tokio::task::spawn_blocking(move || beginning.begin_file()).await.map_err(closed)??;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|why| Failure::invalid(format!("the upload broke off: {why}")))?;
        let written = tokio::task::spawn_blocking(move || blob.write(&piece).map(|()| blob)).await.map_err(closed)?;
        blob = written.map_err(|error| Failure::from(EngineError::from(error)))?;
    }
    Ok(tokio::task::spawn_blocking(move || ending.keep_file(&path, blob)).await.map_err(closed)??)
}

fn remove(engine: &Engine, fields: &Fields) -> Answer {
    engine.remove_files(&fields.required("path")?)?;
    Ok(json!({}))
}
