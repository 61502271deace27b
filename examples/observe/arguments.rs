use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Shows a sink at work: metrics for Prometheus, traces on the console or by OTLP.
///
/// Starts an embedded Kinesis server that throttles, with a stream of four shards, and sends it what one
/// meets in a day: even load, another producer that takes most of a shard, a burst that is more than the
/// stream takes. Meanwhile http://ADDRESS/metrics has the metrics for Prometheus; docs/grafana.json is a
/// dashboard for them. Ctrl-C ends it early.
///
/// Exit status: 0 if every record was delivered, 2 if the options are wrong, else 1.
/// RUST_LOG=kinesis_sink=debug shows every request on the console.
#[derive(Debug, Parser)]
#[command(name = "observe", after_help = AFTER_HELP)]
pub struct Arguments {
    /// Where Prometheus finds the metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,

    /// How long to send: a third of it each of the even load, the other producer and the burst
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(3..=86_400))]
    pub seconds: u64,

    /// Send the span of every request to an OpenTelemetry collector, such as http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// Draw the key panels of the dashboard into this SVG file at the end
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --example observe
  curl http://127.0.0.1:9464/metrics
  cargo run --example observe -- --seconds 600 --otlp http://127.0.0.1:4318";
