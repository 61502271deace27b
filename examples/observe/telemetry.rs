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

/// Histogram buckets. Without buckets the exporter creates summaries, which cannot be aggregated.
const BUCKETS: [(&str, &[f64]); 7] = [
    (names::REQUEST_TIME, &SECONDS),
    (names::BUFFERING_TIME, &SECONDS),
    (names::DELIVERY_TIME, &SECONDS),
    (names::KINESIS_RECORDS_PER_PUT_RECORDS_REQUEST, &RECORDS),
    (names::USER_RECORDS_PER_PUT_RECORDS_REQUEST, &RECORDS),
    (names::USER_RECORDS_PER_KINESIS_RECORD, &RECORDS),
    (names::RETRIES_PER_RECORD, &RETRIES),
];

/// A Prometheus endpoint. Dropping the value stops the endpoint.
pub struct Metrics {
    handle: PrometheusHandle,
    listener: JoinHandle<()>,
}

impl Metrics {
    /// Starts the endpoint. Must be called before a sink is built, because the sink registers its metrics at that time.
    pub fn listen(address: SocketAddr) -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new().with_http_listener(address);
        for (name, buckets) in BUCKETS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
        }
        let (recorder, exporter) =
            builder.build().with_context(|| format!("cannot listen on {address}"))?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        let listener = tokio::spawn(async move {
            if exporter.await.is_err() {
                eprintln!("Prometheus endpoint failed");
            }
        });
        Ok(Self { handle, listener })
    }

    /// Returns the metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A subscriber for the console and, optionally, for an OpenTelemetry collector.
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    pub fn install(collector: Option<&str>) -> anyhow::Result<Self> {
        let console = fmt::layer().with_writer(std::io::stderr).with_ansi(logs::shows_colors());
        let console = console.with_filter(logs::filter_or("kinesis_sink=info"));
        let provider = collector.map(provider).transpose()?;
        // Spans of requests have the level DEBUG.
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("observe"))
                .with_filter(EnvFilter::new("kinesis_sink=debug"))
        });
        tracing_subscriber::registry().with(console).with(spans).init();
        Ok(Self { provider })
    }

    /// Exports the spans that are not exported yet.
    pub fn shutdown(self) -> anyhow::Result<()> {
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
        .context("cannot create the span exporter")?;
    let resource = Resource::builder().with_service_name("kinesis-sink observe").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
