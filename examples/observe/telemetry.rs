//! Who is told: Prometheus, the console, a collector.

use std::net::SocketAddr;

use anyhow::Context;
use kinesis_sink::metrics::names;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::JoinHandle;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::logs;

const SECONDS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const RECORDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 500.0];
const RETRIES: [f64; 7] = [0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0];

/// Buckets for each histogram: without them the exporter makes summaries, which cannot be added up over processes.
const BUCKETS: [(&str, &[f64]); 7] = [
    (names::REQUEST_TIME, &SECONDS),
    (names::BUFFERING_TIME, &SECONDS),
    (names::DELIVERY_TIME, &SECONDS),
    (names::KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST, &RECORDS),
    (names::USER_RECORDS_PER_PUT_RECORDS_REQUEST, &RECORDS),
    (names::USER_RECORDS_PER_KINESIS_RECORD, &RECORDS),
    (names::RETRIES_PER_RECORD, &RETRIES),
];

/// What Prometheus is shown. Dropping it ends the listener.
pub struct Metrics {
    handle: PrometheusHandle,
    listener: JoinHandle<()>,
}

impl Metrics {
    /// Installs the recorder: before any sink is built, which registers with the recorder that is there.
    pub fn listen(address: SocketAddr) -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new().with_http_listener(address);
        for (name, buckets) in BUCKETS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
        }
        let (recorder, exporter) =
            builder.build().with_context(|| format!("cannot listen at {address}"))?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        let listener = tokio::spawn(async move {
            if exporter.await.is_err() {
                eprintln!("the listener for Prometheus ended");
            }
        });
        Ok(Self { handle, listener })
    }

    /// What Prometheus would see now.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// The console, and a collector if there is one.
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    pub fn begin(collector: Option<&str>) -> anyhow::Result<Self> {
        let console = fmt::layer().with_writer(std::io::stderr).with_ansi(logs::shows_colors());
        let console = console.with_filter(logs::filter_or("kinesis_sink=info"));
        let provider = collector.map(provider).transpose()?;
        // A span for each request is at DEBUG, with its events.
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("observe"))
                .with_filter(EnvFilter::new("kinesis_sink=debug"))
        });
        tracing_subscriber::registry().with(console).with(spans).init();
        Ok(Self { provider })
    }

    /// Sends what was not sent yet.
    pub fn end(self) -> anyhow::Result<()> {
        self.provider.map_or(Ok(()), |provider| provider.shutdown())?;
        Ok(())
    }
}

fn provider(collector: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
        .with_protocol(Protocol::HttpBinary)
        .build()
        .context("no exporter of spans")?;
    let resource = Resource::builder().with_service_name("kinesis-sink observe").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
