//! The native API: each handler reads a request, calls the engine on a thread that may wait, and writes the answer.

use crate::{FOLDER, interface, mlflow};
use assay_domain::alert::Rule;
use assay_domain::{DatasetId, EvaluationId, EventSeq, ExperimentId, JobId, RuleId, RunId, SampleId, SourceId, Split};
use assay_engine::{Engine, EngineError};
use assay_protocol::{
    AddClasses, BackupRequest, CheckRequest, ConfigQuery, DatasetChange, DatasetsQuery, DirectionChange, DoctorQuery,
    ErrorBody, ErrorCode, EvaluateRequest, EventPage, EventsQuery, ExperimentPatch, ExportLabels, FindQuery, GcRequest,
    HistoryQuery, ImportRequest, LabelRequest, MergeRequest, PathsQuery, PersonRequest, PredictFiles, PredictQuery,
    PredictionsQuery, RelocateRequest, RulePatch, RunPatch, RunsQuery, SamplesChange, SamplesQuery, SeenRequest,
    SeriesQuery, SettingsPatch, StartRun, path,
};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{Response, StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::{delete, get, patch, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The body of a request, an image or a table of paths, may be as large as this.
const LARGEST_BODY: usize = 256 << 20;

type Shared = State<Arc<Engine>>;
type Answer = Result<Response<Body>, Failure>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Named<T> = Result<Path<T>, PathRejection>;

/// A failure on its way out.
pub(crate) struct Failure(ErrorBody);

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Failure {
        Failure(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        failure(&self.0)
    }
}

/// The reply that carries a failure.
pub(crate) fn failure(error: &ErrorBody) -> Response<Body> {
    if error.code == ErrorCode::Internal {
        tracing::error!(%error, "a request failed");
    }
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(error).unwrap_or_default();
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap_or_default()
}

/// The router of an engine. Whoever hands it requests has decided that they may come.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    let of = |what: &str| format!("{}/{{id}}{what}", path::RUNS);
    let of_dataset = |what: &str| format!("{}/{{id}}{what}", path::DATASETS);
    let of_sample = |what: &str| format!("{}/samples/{{id}}{what}", path::ROOT);
    Router::new()
        .route(path::ABOUT, get(async |State(e): Shared| on(e, |e| e.about()).await))
        .route(path::DOCTOR, get(doctor))
        .route(path::GC, post(collect_garbage))
        .route(path::BACKUP, post(back_up))
        .route(path::MERGE, post(merge))
        .route(path::EVENTS, get(events))
        .route(
            "/api/v1/config/recipes/{name}",
            get(async |State(e): Shared, name: Named<String>| {
                let name = named(name)?;
                on(e, move |e| e.recipe(&name)).await
            }),
        )
        .route(path::CONFIG, get(config))
        .route(path::PATHS, get(paths))
        .route(path::SETTINGS, get(async |State(e): Shared| on(e, |e| e.settings()).await).patch(patch_settings))
        .route(path::EXPERIMENTS, get(async |State(e): Shared| on(e, |e| e.experiments()).await))
        .route(
            &format!("{}/{{id}}", path::EXPERIMENTS),
            patch(patch_experiment)
                .delete(async |State(e): Shared, id: Named<ExperimentId>| act(e, id, Engine::delete_experiment).await),
        )
        .route(
            &format!("{}/{{id}}/restore", path::EXPERIMENTS),
            post(async |State(e): Shared, id: Named<ExperimentId>| act(e, id, Engine::restore_experiment).await),
        )
        .route(path::METRICS, get(async |State(e): Shared| on(e, |e| e.metrics()).await).patch(declare_direction))
        .route(path::RUNS, get(runs).post(start_run))
        .route(&format!("{}/find/{{text}}", path::RUNS), get(find_run))
        .route(&of(""), get(run).patch(patch_run).delete(delete_run))
        .route(&of("/stop"), post(async |State(e): Shared, id: Named<RunId>| act(e, id, Engine::stop_run).await))
        .route(&of("/resume"), post(async |State(e): Shared, id: Named<RunId>| act(e, id, Engine::resume_run).await))
        .route(&of("/restore"), post(async |State(e): Shared, id: Named<RunId>| act(e, id, Engine::restore_run).await))
        .route(&of("/evaluate"), post(evaluate))
        .route(&of("/history"), get(history))
        .route(&of("/predict"), post(predict))
        .route(&of("/artifacts/{*path}"), get(artifact))
        .route(&of("/export"), get(async |State(e): Shared| on(e, |e| Ok(e.export())).await))
        .route(&of("/export/{name}"), get(exported))
        .route(&of("/predict-files"), post(predict_files))
        .route(&of("/check"), post(check))
        .route(&of("/precisions"), post(precisions))
        .route(&of("/profile"), get(async |State(e): Shared, id: Named<RunId>| act(e, id, Engine::profile).await))
        .route(path::SERIES, get(series))
        .route(path::COMPARE, get(compare))
        .route(path::CHART, get(chart))
        .route(path::DATASETS, get(datasets).post(import))
        .route(
            &of_dataset(""),
            get(async |State(e): Shared, id: Named<DatasetId>| act(e, id, Engine::dataset).await).patch(change_dataset),
        )
        .route(&of_dataset("/samples"), get(samples).post(change_samples))
        .route(&of_dataset("/relocate"), post(relocate))
        .route(&of_dataset("/labels.csv"), get(labels_csv))
        .route(&of_dataset("/export"), post(export_labels))
        .route(
            &of_dataset("/problems"),
            get(async |State(e): Shared, id: Named<DatasetId>| act(e, id, Engine::problems).await),
        )
        .route(&of_dataset("/classes"), post(add_classes))
        .route(&of_dataset("/undo"), post(undo))
        .route(&of_dataset("/redo"), post(redo))
        .route(
            &of_dataset("/snapshots"),
            get(async |State(e): Shared, id: Named<DatasetId>| act(e, id, Engine::snapshots).await)
                .post(async |State(e): Shared, id: Named<DatasetId>| act(e, id, Engine::take_snapshot).await),
        )
        .route(&of_sample(""), get(async |State(e): Shared, id: Named<SampleId>| act(e, id, Engine::sample).await))
        .route(&of_sample("/image"), get(image))
        .route(&of_sample("/thumbnail"), get(thumbnail))
        .route(&of_sample("/label"), post(label))
        .route(path::SOURCES, get(async |State(e): Shared| on(e, |e| e.log_sources()).await))
        .route(
            &format!("{}/{{id}}", path::SOURCES),
            delete(async |State(e): Shared, id: Named<SourceId>| act(e, id, Engine::forget_source).await),
        )
        .route(path::ALERTS, get(async |State(e): Shared| on(e, |e| e.alerts()).await))
        .route(path::ALERTS_SEEN, post(see_alerts))
        .route(path::ALERT_RULES, get(async |State(e): Shared| on(e, |e| e.alert_rules()).await).post(make_rule))
        .route(&format!("{}/{{id}}", path::ALERT_RULES), patch(change_rule).delete(remove_rule))
        .route(
            &format!("{}/{{id}}/test", path::ALERT_RULES),
            post(async |State(e): Shared, id: Named<RuleId>| act(e, id, Engine::test_rule).await),
        )
        .route(path::JOBS, get(async |State(e): Shared| on(e, |e| e.jobs()).await))
        .route(
            &format!("{}/{{id}}", path::JOBS),
            get(async |State(e): Shared, id: Named<JobId>| act(e, id, Engine::job).await),
        )
        .route(
            &format!("{}/{{id}}/cancel", path::JOBS),
            post(async |State(e): Shared, id: Named<JobId>| act(e, id, Engine::cancel_job).await),
        )
        .route(path::MODELS, get(async |State(e): Shared| on(e, |e| e.models()).await))
        .route(path::REGISTRY, get(async |State(e): Shared| on(e, |e| e.registry()).await))
        .route(path::EVALUATIONS, get(async |State(e): Shared| on(e, |e| e.evaluations()).await))
        .route(
            &format!("{}/{{id}}", path::EVALUATIONS),
            get(async |State(e): Shared, id: Named<EvaluationId>| act(e, id, Engine::evaluation).await),
        )
        .route(&format!("{}/{{id}}/predictions", path::EVALUATIONS), get(predictions))
        .route(
            &format!("{}/{{id}}/similar/{{sample}}", path::EVALUATIONS),
            get(async |State(e): Shared, ids: Named<(EvaluationId, SampleId)>| {
                act(e, ids, |e, (evaluation, sample)| e.similar(evaluation, sample)).await
            }),
        )
        .route(
            &format!("{}/{{id}}/scores", path::EVALUATIONS),
            get(async |State(e): Shared, id: Named<EvaluationId>| act(e, id, Engine::scores).await),
        )
        .route(
            &format!("{}/{{id}}/compare/{{other}}", path::EVALUATIONS),
            get(async |State(e): Shared, ids: Named<(EvaluationId, EvaluationId)>| {
                act(e, ids, |e, (first, second)| e.compare_evaluations(first, second)).await
            }),
        )
        .route("/api/{*rest}", axum::routing::any(nothing))
        .route("/ajax-api/{*rest}", axum::routing::any(nothing))
        .fallback(interface::file)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(map_response(async |answer| {
            unless_too_large(answer, LARGEST_BODY, |why| failure(&ErrorBody::new(ErrorCode::Invalid, why)))
        }))
        .with_state(engine.clone())
        .merge(mlflow::router(engine))
}

/// The answer, or where the body was larger than the `most` bytes that are read, one that says what to do.
pub(crate) fn unless_too_large(
    answer: Response<Body>,
    most: usize,
    refusal: impl FnOnce(String) -> Response<Body>,
) -> Response<Body> {
    match answer.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            refusal(format!("the request is larger than {} MB: send less at once", most >> 20))
        }
        _ => answer,
    }
}

async fn nothing(uri: Uri) -> Answer {
    if let Some(missing) = mlflow::missing(uri.path()) {
        return Ok(missing);
    }
    Err(ErrorBody::new(ErrorCode::NotFound, "there is no such path in the API").into())
}

/// Calls the engine on a thread that may wait.
pub(crate) async fn work<T: Send + 'static>(
    engine: Arc<Engine>,
    call: impl FnOnce(&Arc<Engine>) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(move || call(&engine)).await {
        Ok(result) => Ok(result?),
        Err(why) => Err(ErrorBody::new(ErrorCode::Internal, format!("the request was not finished: {why}")).into()),
    }
}

async fn on<T: Serialize + Send + 'static>(
    engine: Arc<Engine>,
    call: impl FnOnce(&Arc<Engine>) -> Result<T, EngineError> + Send + 'static,
) -> Answer {
    json(&work(engine, call).await?)
}

async fn act<Id: Send + 'static, T: Serialize + Send + 'static>(
    engine: Arc<Engine>,
    id: Named<Id>,
    call: fn(&Engine, Id) -> Result<T, EngineError>,
) -> Answer {
    let id = named(id)?;
    on(engine, move |engine| call(engine, id)).await
}

fn json(value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|why| ErrorBody::new(ErrorCode::Internal, why.to_string()))?;
    Ok(bytes(body, "application/json", "no-store"))
}

fn bytes(body: Vec<u8>, kind: &str, cache: &str) -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, cache)
        .header("x-content-type-options", "nosniff")
        .body(Body::from(body))
        .unwrap_or_default()
}

fn invalid(why: impl std::fmt::Display) -> Failure {
    ErrorBody::new(ErrorCode::Invalid, format!("the request cannot be read: {why}")).into()
}

fn named<T>(path: Named<T>) -> Result<T, Failure> {
    path.map(|Path(value)| value).map_err(|why| invalid(why.body_text()))
}

fn asked<T>(query: Asked<T>) -> Result<T, Failure> {
    query.map(|Query(value)| value).map_err(|why| invalid(why.body_text()))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(invalid)
}

async fn events(State(engine): Shared, query: Asked<EventsQuery>) -> Answer {
    let query = asked(query)?;
    let wait = Duration::try_from_secs_f64(query.wait_secs.max(0.0)).unwrap_or(Duration::MAX);
    let page: EventPage = engine.events(EventSeq(query.after), wait).await?;
    json(&page)
}

async fn paths(State(engine): Shared, query: Asked<PathsQuery>) -> Answer {
    let query = asked(query)?;
    on(engine, move |engine| Ok(engine.paths(&query.begin))).await
}

async fn config(State(engine): Shared, query: Asked<ConfigQuery>) -> Answer {
    let query = asked(query)?;
    on(engine, move |engine| engine.explain_config(query.recipe.as_deref())).await
}

async fn check(State(engine): Shared, id: Named<RunId>, body: Bytes) -> Answer {
    let (id, request): (RunId, CheckRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.check_run(id, request.spec.as_ref())).await
}

async fn precisions(State(engine): Shared, id: Named<RunId>, body: Bytes) -> Answer {
    let (id, request): (RunId, EvaluateRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.compare_precisions(id, request.split.unwrap_or(Split::Test))).await
}

async fn predict_files(State(engine): Shared, id: Named<RunId>, body: Bytes) -> Answer {
    let (id, request): (RunId, PredictFiles) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.predict_files(id, &request)).await
}

async fn patch_settings(State(engine): Shared, body: Bytes) -> Answer {
    let patch: SettingsPatch = read(&body)?;
    on(engine, move |engine| engine.patch_settings(patch)).await
}

async fn runs(State(engine): Shared, query: Asked<RunsQuery>) -> Answer {
    let query = asked(query)?;
    on(engine, move |engine| engine.runs(&query)).await
}

async fn start_run(State(engine): Shared, body: Bytes) -> Answer {
    let request: StartRun = read(&body)?;
    on(engine, move |engine| engine.start_run(request)).await
}

async fn find_run(State(engine): Shared, text: Named<String>, query: Asked<FindQuery>) -> Answer {
    let (text, query) = (named(text)?, asked(query)?);
    on(engine, move |engine| if query.deleted { engine.find_deleted_run(&text) } else { engine.find_run(&text) }).await
}

async fn history(State(engine): Shared, id: Named<RunId>, query: Asked<HistoryQuery>) -> Answer {
    let (id, query) = (named(id)?, asked(query)?);
    on(engine, move |engine| engine.run_history(id, &query)).await
}

async fn patch_experiment(State(engine): Shared, id: Named<ExperimentId>, body: Bytes) -> Answer {
    let (id, patch): (ExperimentId, ExperimentPatch) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.patch_experiment(id, patch)).await
}

async fn declare_direction(State(engine): Shared, body: Bytes) -> Answer {
    let change: DirectionChange = read(&body)?;
    on(engine, move |engine| engine.declare_direction(change)).await
}

async fn run(State(engine): Shared, id: Named<RunId>) -> Answer {
    act(engine, id, Engine::run_detail).await
}

async fn patch_run(State(engine): Shared, id: Named<RunId>, body: Bytes) -> Answer {
    let (id, patch): (RunId, RunPatch) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.patch_run(id, patch)).await
}

async fn delete_run(State(engine): Shared, id: Named<RunId>) -> Answer {
    act(engine, id, Engine::delete_run).await
}

async fn evaluate(State(engine): Shared, id: Named<RunId>, body: Bytes) -> Answer {
    let id = named(id)?;
    let request: EvaluateRequest = if body.is_empty() { EvaluateRequest::default() } else { read(&body)? };
    on(engine, move |engine| engine.start_evaluation(id, &request)).await
}

async fn predict(State(engine): Shared, id: Named<RunId>, query: Asked<PredictQuery>, body: Bytes) -> Answer {
    let (id, query) = (named(id)?, asked(query)?);
    on(engine, move |engine| engine.predict(id, query.checkpoint.as_deref(), &body)).await
}

async fn artifact(State(engine): Shared, id: Named<(RunId, String)>) -> Answer {
    let (id, path) = named(id)?;
    let name = path.rsplit('/').next().unwrap_or_default().replace('"', "");
    let body = work(engine, move |engine| engine.artifact(id, &path)).await?;
    let mut response = bytes(body, "application/octet-stream", "private, max-age=60");
    // What a run kept is a file to save, never a page of this server.
    if let Ok(value) = format!("attachment; filename=\"{name}\"").parse() {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn exported(State(engine): Shared, id: Named<(RunId, String)>, query: Asked<PredictQuery>) -> Answer {
    let ((id, name), query) = (named(id)?, asked(query)?);
    let body = work(engine, move |engine| engine.exported(id, query.checkpoint.as_deref(), &name)).await?;
    Ok(bytes(body, "application/octet-stream", "no-store"))
}

async fn series(State(engine): Shared, query: Asked<SeriesQuery>) -> Answer {
    let query = asked(query)?;
    on(engine, move |engine| engine.series(&query)).await
}

#[derive(serde::Deserialize)]
struct CompareQuery {
    runs: String,
}

async fn compare(State(engine): Shared, query: Asked<CompareQuery>) -> Answer {
    let query = asked(query)?;
    on(engine, move |engine| engine.compare(&query.runs)).await
}

async fn chart(State(engine): Shared, query: Asked<SeriesQuery>) -> Answer {
    let query = asked(query)?;
    let svg = work(engine, move |engine| engine.chart_svg(&query)).await?;
    Ok(bytes(svg.into_bytes(), "image/svg+xml", "no-store"))
}

async fn doctor(State(engine): Shared, query: Asked<DoctorQuery>) -> Answer {
    let deep = asked(query)?.deep;
    on(engine, move |engine| engine.doctor(deep)).await
}

async fn collect_garbage(State(engine): Shared, body: Bytes) -> Answer {
    let request: GcRequest = read(&body)?;
    on(engine, move |engine| engine.collect_garbage(request.dry)).await
}

async fn back_up(State(engine): Shared, body: Bytes) -> Answer {
    let request: BackupRequest = read(&body)?;
    on(engine, move |engine| engine.back_up(&std::path::Path::new(&request.folder).join(FOLDER))).await
}

async fn merge(State(engine): Shared, body: Bytes) -> Answer {
    let request: MergeRequest = read(&body)?;
    on(engine, move |engine| engine.merge(std::path::Path::new(&request.folder))).await
}

async fn import(State(engine): Shared, body: Bytes) -> Answer {
    let request: ImportRequest = read(&body)?;
    on(engine, move |engine| engine.start_import(&request)).await
}

async fn samples(State(engine): Shared, id: Named<DatasetId>, query: Asked<SamplesQuery>) -> Answer {
    let (id, query) = (named(id)?, asked(query)?);
    on(engine, move |engine| engine.samples(id, &query)).await
}

async fn datasets(State(engine): Shared, query: Asked<DatasetsQuery>) -> Answer {
    match asked(query)?.removed {
        true => on(engine, |engine| engine.removed_datasets()).await,
        false => on(engine, |engine| engine.datasets()).await,
    }
}

async fn change_samples(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, change): (DatasetId, SamplesChange) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.change_samples(id, &change)).await
}

async fn relocate(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, request): (DatasetId, RelocateRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.relocate(id, &request.source)).await
}

async fn labels_csv(State(engine): Shared, id: Named<DatasetId>) -> Answer {
    let id = named(id)?;
    let body = work(engine, move |engine| engine.labels_csv(id)).await?;
    Ok(bytes(body, "text/csv; charset=utf-8", "no-store"))
}

async fn export_labels(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, request): (DatasetId, ExportLabels) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.export_labels(id, &request)).await
}

async fn change_dataset(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, change): (DatasetId, DatasetChange) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.change_dataset(id, &change)).await
}

async fn add_classes(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, request): (DatasetId, AddClasses) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.add_classes(id, &request.names)).await
}

async fn see_alerts(State(engine): Shared, body: Bytes) -> Answer {
    let request: SeenRequest = read(&body)?;
    on(engine, move |engine| engine.see_alerts(request.until)).await
}

async fn make_rule(State(engine): Shared, body: Bytes) -> Answer {
    let rule: Rule = read(&body)?;
    on(engine, move |engine| engine.make_rule(rule)).await
}

async fn change_rule(State(engine): Shared, id: Named<RuleId>, body: Bytes) -> Answer {
    let (id, patch): (RuleId, RulePatch) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.change_rule(id, patch)).await
}

async fn remove_rule(State(engine): Shared, id: Named<RuleId>) -> Answer {
    let id = named(id)?;
    on(engine, move |engine| engine.remove_rule(id)).await
}

async fn undo(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, request): (DatasetId, PersonRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.undo(id, &request.person)).await
}

async fn redo(State(engine): Shared, id: Named<DatasetId>, body: Bytes) -> Answer {
    let (id, request): (DatasetId, PersonRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.redo(id, &request.person)).await
}

async fn image(State(engine): Shared, id: Named<SampleId>) -> Answer {
    let id = named(id)?;
    let body = work(engine, move |engine| engine.sample_image(id)).await?;
    let kind = kind_of(&body);
    Ok(bytes(body, kind, "private, max-age=60"))
}

#[derive(serde::Deserialize)]
struct ThumbnailQuery {
    side: Option<u32>,
}

async fn thumbnail(State(engine): Shared, id: Named<SampleId>, query: Asked<ThumbnailQuery>) -> Answer {
    let (id, query) = (named(id)?, asked(query)?);
    let body = work(engine, move |engine| engine.sample_thumbnail(id, query.side.unwrap_or(128))).await?;
    let kind = kind_of(&body);
    Ok(bytes(body, kind, "private, max-age=3600"))
}

async fn label(State(engine): Shared, id: Named<SampleId>, body: Bytes) -> Answer {
    let (id, request): (SampleId, LabelRequest) = (named(id)?, read(&body)?);
    on(engine, move |engine| engine.label(id, request)).await
}

async fn predictions(State(engine): Shared, id: Named<EvaluationId>, query: Asked<PredictionsQuery>) -> Answer {
    let (id, query) = (named(id)?, asked(query)?);
    on(engine, move |engine| engine.predictions(id, &query)).await
}

fn kind_of(image: &[u8]) -> &'static str {
    if image.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" }
}
