use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Exports the metrics and traces of a sink under a varying load.
///
/// The load on the four shards of an embedded Kinesis server has three phases: even load, a second producer that
/// takes most of the throughput of one shard, and a burst above the limit of the stream. Prometheus can scrape
/// the metrics at http://ADDRESS/metrics; docs/grafana.json is a dashboard for them. Ctrl-C stops the load.
///
/// Exit status: 0 if every record was delivered, 2 if the options are invalid, 1 on any other error.
/// Set RUST_LOG=kinesis_sink=debug to log every request.
#[derive(Debug, Parser)]
#[command(name = "observe", after_help = AFTER_HELP)]
pub struct Arguments {
    /// Address of the Prometheus endpoint
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,

    /// Duration of the load in seconds, a third for each phase
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(3..=86_400))]
    pub seconds: u64,

    /// URL of an OpenTelemetry collector to send spans to, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// SVG file to draw charts of the metrics to
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --example observe
  curl http://127.0.0.1:9464/metrics
  cargo run --example observe -- --seconds 600 --otlp http://127.0.0.1:4318";
