use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::{SinkExt, StreamExt, stream};
use kinesis_sink::Record;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::clients::{AtOnce, Silent, builder, put_records, spool};
use super::load::Load;
use super::memory;

/// Time in which a producer has read as much of a backlog as it keeps in memory.
const RUNNING: Duration = Duration::from_secs(1);
/// Bound of the buffer of a client whose memory is measured.
const SMALL_BUFFER_BYTES: usize = 2 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub directory: PathBuf,
    pub record_bytes: usize,
    pub records: usize,
    pub work: Work,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Send the records without a spool.
    Send { port: u16 },
    /// Write the records to the spool.
    Fill,
    /// Deliver the backlog to the server.
    Replay { port: u16 },
    /// Deliver the backlog to a service that responds at once.
    Read,
    /// Open the backlog, and deliver nothing.
    Open,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    pub wall: Duration,
    /// Time until the spool was open.
    pub open: Duration,
    /// Peak resident memory when the spool was open.
    pub opened_bytes: u64,
    /// Peak resident memory at the end.
    pub peak_bytes: u64,
}

pub fn run(job: Job) -> anyhow::Result<Measured> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let load = Load::new(job.record_bytes);
    let mut measured = Measured::default();
    let start = Instant::now();
    runtime.block_on(async {
        let records = (0..job.records).map(|number| Record::from(load.record(number)));
        match job.work {
            Work::Send { port } => {
                let mut sink = builder().build_with(put_records(port))?;
                stream::iter(records.map(Ok)).forward(&mut sink).await?;
            }
            Work::Fill => {
                let sink = builder().with_spool(spool(&job.directory)).build_with(Silent)?;
                let producer = sink.spawn();
                let mut sink = producer.sink();
                for record in records {
                    sink.feed(record).await?;
                }
                drop(sink);
                producer.close_within(Duration::ZERO).await?;
            }
            Work::Replay { port } => {
                let builder = builder().with_spool(spool(&job.directory));
                let producer = builder.build_with(put_records(port))?.spawn();
                ensure!(producer.recovered() == job.records as u64, "the backlog is incomplete");
                producer.close().await?;
            }
            Work::Read => {
                let builder = builder().with_spool(spool(&job.directory));
                let producer = builder.build_with(AtOnce)?.spawn();
                ensure!(producer.recovered() == job.records as u64, "the backlog is incomplete");
                producer.close().await?;
            }
            Work::Open => {
                let builder = builder()
                    .with_spool(spool(&job.directory))
                    .configure(|settings| settings.buffer_bytes = SMALL_BUFFER_BYTES);
                let producer = builder.build_with(Silent)?.spawn();
                ensure!(producer.recovered() == job.records as u64, "the backlog is incomplete");
                measured.open = start.elapsed();
                measured.opened_bytes = memory::max_resident();
                tokio::time::sleep(RUNNING).await;
                producer.close_within(Duration::ZERO).await?;
            }
        }
        anyhow::Ok(())
    })?;
    measured.wall = start.elapsed();
    measured.peak_bytes = memory::max_resident();
    Ok(measured)
}
