//! Sends traces by OTLP over HTTP, if the variables of OpenTelemetry say where to.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` switches them on. The exporter reads
//! the other variables of the specification itself: headers, timeout, sampler, service name, attributes.
//! Without an endpoint, no layer is installed, and the spans of [`SPANS`] are never made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Level, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{SPANS, TelemetryError};
use crate::data::last_cause;

/// How long the process waits at its end for the last spans to be sent.
const LAST: Duration = Duration::from_secs(5);

/// The longest answer of a collector that is read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The service's name, unless `OTEL_SERVICE_NAME` has another one.
const SERVICE: &str = "helena-sync";

/// Ends with the process.
static PROVIDER: Mutex<Option<SdkTracerProvider>> = Mutex::new(None);

/// Sends the exporter's requests with the program's own HTTP client. The exporter waits in a thread of its
/// own, where no runtime is.
#[derive(Debug)]
struct Sender {
    runtime: Handle,
    http: reqwest::Client,
    /// Whether the log has told that the collector does not accept spans.
    is_told: AtomicBool,
}

impl Sender {
    /// Tells that the collector does not accept spans: once, until it does.
    fn note(&self, problem: Option<String>) {
        let Some(problem) = problem else {
            self.is_told.store(false, Ordering::Relaxed);
            return;
        };
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = problem,
                "the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not accept traces: {problem}. They are dropped \
                 until it does"
            );
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let (parts, body) = request.into_parts();
        let sent = self.runtime.spawn(async move {
            let mut answer = http
                .request(parts.method, parts.uri.to_string())
                .headers(parts.headers)
                .body(body)
                .send()
                .await?;
            let mut read = Vec::new();
            while let Some(part) = answer.chunk().await? {
                if read.len() + part.len() > LONGEST_ANSWER {
                    return Err("the collector's answer is too long".into());
                }
                read.extend_from_slice(&part);
            }
            let status = answer.status();
            Ok::<_, HttpError>(Response::builder().status(status).body(read.into())?)
        });
        let sent = sent.await?;
        self.note(match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(last_cause(error.as_ref())),
        });
        sent
    }
}

/// Spans, and the log lines within them. The span of an account lasts as long as the process: with it, all runs
/// would be one trace.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if metadata.is_span() && metadata.name() == "account" {
        return false;
    }
    target == SPANS || target.starts_with("helena_sync") && *metadata.level() <= Level::INFO
}

/// A layer that sends spans.
pub(super) fn layer<S>() -> Result<impl Layer<S> + Send + Sync, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let tracer = tracer()?;
    Ok(OpenTelemetryLayer::new(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_traced)))
}

fn tracer() -> Result<SdkTracer, TelemetryError> {
    let failed = |problem: String| TelemetryError::Traces { problem };
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let runtime = Handle::try_current().map_err(|error| failed(error.to_string()))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender {
            runtime,
            http,
            is_told: AtomicBool::new(false),
        })
        .build()
        .map_err(|error| failed(error.to_string()))?;
    // Detectors read OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
    let resource = Resource::builder();
    let resource = if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource.with_service_name(SERVICE)
    } else {
        resource
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer(SERVICE);
    *PROVIDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(provider);
    Ok(tracer)
}

/// Sends the spans that were not sent yet. The exporter sends them every five seconds otherwise.
pub(super) async fn end() {
    let provider = PROVIDER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(provider) = provider {
        // It waits for the exporter's thread, which needs this runtime.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST));
        // Nobody is left to tell.
        let _ended = ended.await;
    }
}
