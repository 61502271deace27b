//! Simulates a crash, a restart, and a rebalance, and checks that no committed message is lost.

use std::time::Duration;

use kinesis_sink::KinesisSink;
use tokio::time::sleep;

use crate::forward::forward;
use crate::log::Log;
use crate::read_back::ReadBack;
use crate::remote::Remote;
use crate::target::Target;

/// Maximum number of buffered records. With a smaller buffer, a crash causes fewer duplicates.
const BUFFER_RECORDS: usize = 1_000;
const PARTITIONS: [u32; 4] = [0, 1, 2, 3];

struct Demonstration {
    target: Target,
    log: Log,
    messages: usize,
}

pub async fn run(messages: u64, remote: &Remote) -> anyhow::Result<()> {
    let target = Target::open(remote, 2).await?;
    let log = Log::new(PARTITIONS.len() as u32, messages);
    let messages = PARTITIONS.len() * messages as usize;
    let demonstration = Demonstration { target, log, messages };
    let after_crash = demonstration.target.read_back().await?;
    let at_the_end = demonstration.target.read_back().await?;

    demonstration.crash().await?;
    demonstration.check_committed(after_crash).await?;
    demonstration.rebalance().await?;
    let committed = demonstration.log.committed().len();
    anyhow::ensure!(committed == messages, "{committed} of {messages} messages are committed");
    demonstration.check_committed(at_the_end).await
}

impl Demonstration {
    fn sink(&self) -> anyhow::Result<KinesisSink> {
        Ok(self.target.sink(|builder| {
            builder.configure(|settings| settings.buffer_records = Some(BUFFER_RECORDS))
        })?)
    }

    /// Simulates a crash by aborting the driver. If only the producer were dropped, the driver would send its records.
    async fn crash(&self) -> anyhow::Result<()> {
        let (producer, driver) = self.sink()?.into_producer();
        let driver = tokio::spawn(driver);
        let (consumer, _) = self.log.consumer(&PARTITIONS);
        tokio::select! {
            forwarded = forward(consumer, &producer) => {
                forwarded.and(Err(anyhow::anyhow!("all messages were forwarded before the crash")))
            }
            () = self.wait_for_committed(self.messages / 3) => Ok(()),
        }?;
        driver.abort();
        let committed = self.log.committed().len();
        println!(
            "the first consumer crashed with {committed} of {} messages committed",
            self.messages
        );
        Ok(())
    }

    async fn rebalance(&self) -> anyhow::Result<()> {
        let producer = self.sink()?.spawn();
        let other_producer = self.sink()?.spawn();
        let (consumer, mut rebalance) = self.log.consumer(&PARTITIONS);
        let (kept, moved) = PARTITIONS.split_at(PARTITIONS.len() / 2);
        let third = async {
            self.wait_for_committed(self.messages / 2).await;
            rebalance.revoke(moved).await;
            let committed = self.log.committed().len();
            println!(
                "moved partitions {moved:?} to a third consumer with {committed} messages committed"
            );
            let (consumer, _) = self.log.consumer(moved);
            forward(consumer, &other_producer).await
        };
        tokio::try_join!(forward(consumer, &producer), third)?;
        println!("the second consumer kept partitions {kept:?}; all messages are forwarded");
        producer.close().await?;
        other_producer.close().await?;
        Ok(())
    }

    async fn wait_for_committed(&self, messages: usize) {
        while self.log.committed().len() < messages {
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn check_committed(&self, mut read_back: ReadBack) -> anyhow::Result<()> {
        for message in self.log.committed() {
            read_back.expect(message.payload);
        }
        read_back.check().await
    }
}
