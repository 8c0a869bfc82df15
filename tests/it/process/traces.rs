//! Traces, as a collector receives them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use helena_sync::sandbox::Fault;

use super::program::{Place, account, on_both};

/// What a collector received: the bodies of requests for `/v1/traces`, and their headers.
#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Received {
    fn spans(&self) -> Vec<(String, Span)> {
        let received = self.0.lock().unwrap();
        let mut spans = Vec::new();
        for (headers, body) in received.iter() {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-key"], "abc");
            let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
            for resource in request.resource_spans {
                let service = text(&resource.resource.unwrap().attributes, "service.name");
                let of_scopes = resource.scope_spans.into_iter().flat_map(|it| it.spans);
                spans.extend(of_scopes.map(|span| (service.clone().unwrap(), span)));
            }
        }
        spans
    }
}

/// The address of a collector.
async fn collector() -> (String, Received) {
    async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) {
        received.0.lock().unwrap().push((headers, body));
    }
    let received = Received::default();
    let router = Router::new()
        .route("/v1/traces", axum::routing::post(take))
        .with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (address, received)
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    let AnyValue { value } = attribute.value.as_ref()?;
    value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_receives_each_run_with_its_walk_its_requests_and_its_commits() {
    on_both(|place| async move {
        let sandbox = account(60).await;
        // A request of a list fails and is retried.
        let well = std::iter::repeat_n(Fault::None, 5);
        sandbox.script(well.chain([Fault::Unavailable]));
        let (address, received) = collector().await;
        let place = place
            .with("HELENA_BASE_URL", &sandbox.base_url())
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
            .with("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc");
        let done = place.succeeds(&["sync"]).await;
        let spans = received.spans();
        let by_id: HashMap<&[u8], &Span> = spans
            .iter()
            .map(|(_, span)| (span.span_id.as_slice(), span))
            .collect();
        let parent = |span: &Span| by_id.get(span.parent_span_id.as_slice()).copied();
        let named = |name: &str| {
            let found: Vec<&Span> = spans
                .iter()
                .filter(|(_, span)| span.name == name)
                .map(|(_, span)| span)
                .collect();
            assert!(!found.is_empty(), "no span {name}: {done:?}");
            found
        };
        assert!(spans.iter().all(|(service, _)| service == "helena-sync"));
        let database = place.database().await;
        // Each run of the database is a span with its attributes.
        let runs = named("run");
        let stored = database.count("sync_runs", "kind <> 'state'").await;
        assert_eq!(i64::try_from(runs.len()).unwrap(), stored);
        for run in &runs {
            let of = |name| text(&run.attributes, name).unwrap();
            assert_eq!(of("account"), "default");
            let stream = of("stream");
            let resource = stream.split(' ').next().unwrap();
            let its = format!(
                "id = {} and kind = '{}' and resource = '{resource}'",
                of("run"),
                of("kind")
            );
            assert_eq!(database.count("sync_runs", &its).await, 1, "{run:?}");
        }
        for walk in named("walk") {
            assert_eq!(parent(walk).unwrap().name, "run");
        }
        let commits = named("commit");
        for commit in &commits {
            let run = parent(commit).unwrap();
            assert_eq!(run.name, "run");
            assert_eq!(
                text(&commit.attributes, "run"),
                text(&run.attributes, "run")
            );
        }
        let requests = named("request");
        let in_walks = requests
            .iter()
            .filter(|request| parent(request).is_some_and(|it| it.name == "walk"));
        assert!(in_walks.count() > 5, "{requests:#?}");
        let failed: Vec<&&Span> = requests
            .iter()
            .filter(|request| {
                request
                    .status
                    .as_ref()
                    .is_some_and(|status| status.code() == StatusCode::Error)
            })
            .collect();
        let [failed] = failed.as_slice() else {
            panic!("{failed:#?}");
        };
        assert_eq!(
            text(&failed.attributes, "http.response.status_code").unwrap(),
            "503"
        );
        for (_, span) in &spans {
            let shown = format!("{span:?}");
            assert!(!shown.contains("pn_"), "a token: {shown}");
        }
        database.store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_nothing_is_sent_and_a_wrong_one_is_refused() {
    let sandbox = account(20).await;
    let (address, received) = collector().await;
    let place = Place::beside(&sandbox).with("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc");
    place.succeeds(&["sync"]).await;
    let off = Place::beside(&sandbox)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .with("OTEL_SDK_DISABLED", "true");
    off.succeeds(&["sync"]).await;
    assert!(received.spans().is_empty());
    let wrong = Place::beside(&sandbox).with("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address");
    let done = wrong.run(&["sync"]).await;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{done:?}");
    // A collector that is away costs nothing but a warning.
    let away = Place::beside(&sandbox).with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let done = away.succeeds(&["sync"]).await;
    let warned = done.err.matches("does not accept traces").count();
    assert_eq!(warned, 1, "{done:?}");
}
