//! Model test of the log on a simulated disk: random operations, faults, and crashes at any write.
//!
//! `SPOOL_SEEDS` sets the number of seeds, and `SPOOL_SEED` replays a single one. The documented run is
//! `SPOOL_SEEDS=100000 cargo test --release --lib spool::log::tests::model`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{panic, thread};

use super::*;

const STEPS: usize = 60;

/// Time limit for one seed, which normally takes milliseconds. A seed that takes longer counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(60);

/// Knowledge about a record.
#[derive(Debug, Clone)]
struct Known {
    /// Number in the payload, unique for each record that was offered.
    id: u64,
    /// Whether a sync that succeeded included the record.
    synced: bool,
    acked: Acked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Acked {
    No,
    InMemory,
    /// A sync that succeeded included the acknowledgement.
    Durable,
}

/// Kinds of faults that a seed uses.
#[derive(Debug, Clone, Copy)]
struct Plan {
    faults: Faults,
    limits_disk: bool,
    crashes: bool,
}

struct Model {
    rng: fastrand::Rng,
    files: FakeFiles,
    settings: LogSettings,
    plan: Plan,
    log: Option<Log<FakeFiles>>,
    cursor: Cursor,
    known: BTreeMap<u64, Known>,
    /// Records that were offered under a sequence number but not accepted. They can appear after a crash.
    offered: BTreeMap<u64, BTreeSet<u64>>,
    /// Payloads of the records that were acknowledged.
    acked: BTreeSet<u64>,
    next_id: u64,
    /// Number of records that were reported as damaged.
    damaged: u64,
    /// Used bytes when the log was opened, until they decrease.
    reappeared: u64,
    /// Whether damage was reported whose number of records is an estimate.
    has_estimate: bool,
    /// Whether the process was killed and syncs can fail. The next process does not know about a failed sync, so that
    /// its own sync of the same file succeeds although the data was discarded.
    sync_is_unreliable: bool,
    /// Number of synced records that were found to be missing.
    missing: u64,
    trace: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The process ends, and all writes remain.
    Kill,
    Crash,
    /// The log is closed.
    Close,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let files = FakeFiles::new(rng.u64(..));
        let mut rate = |one_in: usize| match rng.usize(..one_in) {
            0 => 0.02,
            1 => 0.2,
            _ => 0.0,
        };
        let faults = Faults {
            read: rate(12),
            write: rate(6),
            sync: rate(6),
            sync_directory: rate(6),
            entry: rate(6),
        };
        let plan = Plan { faults, limits_disk: rng.u8(..4) == 0, crashes: rng.u8(..4) > 0 };
        let segment_bytes = rng.u64(2..8) << 10;
        let settings = LogSettings {
            max_bytes: segment_bytes * rng.u64(4..20),
            segment_bytes,
            keeps_unsynced: rng.u8(..5) > 0,
            strict: false,
        };
        files.set_preallocates(rng.u8(..4) > 0);
        let Opened { log, .. } = Log::open(files.another(), settings.clone()).expect("opens");
        files.set_faults(faults);
        let cursor = log.cursor();
        let settings_text = format!("{settings:?}");
        Self {
            rng,
            files,
            settings,
            plan,
            log: Some(log),
            cursor,
            known: BTreeMap::new(),
            offered: BTreeMap::new(),
            acked: BTreeSet::new(),
            next_id: 0,
            damaged: 0,
            reappeared: 0,
            has_estimate: false,
            sync_is_unreliable: false,
            missing: 0,
            trace: vec![format!("{faults:?} {settings_text}")],
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if std::env::var_os("SPOOL_SEED").is_some() {
            self.trace.push(text());
        }
    }

    fn log(&mut self) -> &mut Log<FakeFiles> {
        self.log.as_mut().expect("the log is open")
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            if self.plan.crashes && self.rng.u8(..12) == 0 {
                let changes = self.rng.u64(..12);
                self.note(|| format!("power fails after {changes} changes"));
                self.files.fail_power_after(changes);
            }
            match self.rng.u8(..20) {
                0..=6 => self.append()?,
                7..=10 => self.acknowledge(),
                11..=12 => self.sync()?,
                13 => self.write_acks(),
                14..=16 => self.read()?,
                17 if self.plan.limits_disk => {
                    let capacity = self.rng.u64(..2 * self.settings.max_bytes);
                    self.note(|| format!("capacity {capacity}"));
                    self.files.set_capacity(capacity);
                }
                18 if self.rng.bool() => self.restart(End::Kill)?,
                19 if self.rng.bool() => self.restart(End::Close)?,
                _ => {}
            }
            self.take_events();
            if self.files.is_down() || (self.plan.crashes && self.rng.u8(..40) == 0) {
                self.restart(End::Crash)?;
            }
            self.check_bounds()?;
        }
        self.files.set_capacity(u64::MAX);
        self.files.set_faults(Faults::default());
        self.restart(End::Crash)?;
        self.drain()
    }

    fn append(&mut self) -> Result<(), String> {
        let count = self.rng.usize(1..12);
        let longest = if self.rng.u8(..8) == 0 { 3_000 } else { 200 };
        let ids = self.next_id..self.next_id + count as u64;
        self.next_id = ids.end;
        let records: Vec<_> =
            ids.clone().map(|id| record(payload(id, self.rng.usize(..longest)))).collect();
        let next = self.log().next_seq();
        for (seq, id) in (next..).zip(ids.clone()) {
            self.offered.entry(seq).or_default().insert(id);
        }
        let appended = self.log().append(&records);
        self.note(|| {
            let stopped = &appended.stopped;
            format!("append {count} at {next}: {} {stopped:?}", appended.count)
        });
        check(appended.first == next, || format!("first is {}, not {next}", appended.first))?;
        check(appended.count == count || appended.stopped.is_some(), || {
            format!("stopped after {} of {count} without a reason", appended.count)
        })?;
        for (seq, id) in (next..).zip(ids).take(appended.count) {
            self.known.insert(seq, Known { id, synced: false, acked: Acked::No });
        }
        let expected = next + appended.count as u64;
        let next = self.log().next_seq();
        check(next == expected, || format!("the next number is {next}, not {expected}"))
    }

    fn acknowledge(&mut self) {
        let next = self.log().next_seq();
        let oldest = self.log().cursor().seq();
        let start = if self.rng.bool() { oldest } else { self.rng.u64(oldest..=next) };
        let end = (start + self.rng.u64(..20)).min(next);
        self.note(|| format!("acknowledge {start}..{end}"));
        for (_, record) in self.known.range_mut(start..end) {
            if record.acked == Acked::No {
                record.acked = Acked::InMemory;
                self.acked.insert(record.id);
            }
        }
        self.log().acknowledge(start..end);
    }

    fn sync(&mut self) -> Result<(), String> {
        let only_records = self.rng.u8(..4) == 0;
        let synced = if only_records { self.log().sync_records() } else { self.log().sync() };
        self.note(|| format!("sync: {synced:?}"));
        if synced.is_ok() {
            let (synced, next) = (self.log().synced_seq(), self.log().next_seq());
            check(synced == next, || format!("synced up to {synced} of {next}"))?;
            self.known.values_mut().for_each(|record| record.synced = true);
        }
        self.update_acks();
        Ok(())
    }

    fn write_acks(&mut self) {
        let written = self.log().write_acks();
        self.note(|| format!("write acks: {written:?}"));
        self.update_acks();
    }

    fn update_acks(&mut self) {
        // The file of a segment whose records are moved is not used anymore.
        if self.log().acks_are_durable() && self.log().moving.is_none() {
            for record in self.known.values_mut().filter(|record| record.acked != Acked::No) {
                record.acked = Acked::Durable;
            }
        }
    }

    /// Reads from the cursor and checks that no record is skipped.
    fn read(&mut self) -> Result<(), String> {
        if self.rng.u8(..8) == 0 {
            self.cursor = self.log().cursor();
        }
        let start = self.cursor.seq();
        let (max_records, max_bytes) = (self.rng.usize(1..20), self.rng.usize(1..5_000));
        let mut cursor = self.cursor.clone();
        let records = self.log().read(&mut cursor, max_records, max_bytes);
        let end = cursor.seq();
        self.cursor = cursor;
        self.note(|| format!("read {start}..{end}: {} records", records.len()));
        self.take_events();
        if self.files.is_down() {
            return Ok(());
        }
        check(records.len() <= max_records, || "too many records".to_owned())?;
        check(records.is_sorted_by_key(|(seq, _)| *seq), || "records are not in order".to_owned())?;
        let mut read = BTreeMap::new();
        for (seq, found) in records {
            let known = self.known.get(&seq);
            let known = known.ok_or_else(|| format!("record {seq} was not appended"))?;
            check(known.acked == Acked::No, || format!("record {seq} is acknowledged"))?;
            check(id_of(&found)? == known.id, || format!("record {seq} has another payload"))?;
            read.insert(seq, found);
        }
        let skipped: Vec<u64> = self
            .known
            .range(start.min(end)..end)
            .filter(|(seq, record)| record.acked == Acked::No && !read.contains_key(seq))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in skipped {
            self.lose(seq)?;
        }
        Ok(())
    }

    /// Records that a record is missing, which must have been reported.
    fn lose(&mut self, seq: u64) -> Result<(), String> {
        self.known.remove(&seq);
        self.missing += 1;
        let (missing, damaged) = (self.missing, self.damaged);
        let faults = self.plan.faults;
        let can_lose = faults.read > 0.0 || faults.sync + faults.sync_directory > 0.0;
        check(can_lose, || format!("record {seq} is missing without a fault"))?;
        check(missing <= damaged || self.has_estimate || self.sync_is_unreliable, || {
            format!("record {seq} is missing: {missing} are missing, {damaged} were reported")
        })
    }

    fn take_events(&mut self) {
        for event in self.log().take_events() {
            self.damaged += match &event {
                LogEvent::Damage(damage) => damage.records,
                LogEvent::SyncFailed { unprotected, .. } => *unprotected,
                _ => 0,
            };
            // Acknowledgements of moved records are written to another file.
            if let LogEvent::SyncFailed { moved: 1.., .. } = &event {
                let synced = self.log().synced_seq();
                for (_, record) in self.known.range_mut(synced.saturating_sub(100)..) {
                    record.acked = record.acked.min(Acked::InMemory);
                }
            }
            // If a header or an end cannot be read, the number of records is estimated.
            self.has_estimate |= matches!(&event, LogEvent::Damage(damage)
                if matches!(damage.cause, Cause::Header | Cause::Unreadable));
            self.note(|| format!("  {event:?}"));
        }
    }

    /// Ends the process and opens the log again, possibly several times, and checks what is found.
    fn restart(&mut self, end: End) -> Result<(), String> {
        self.take_events();
        let mut end = end;
        let log = self.log.take().expect("the log is open");
        if end == End::Close {
            let closed = log.close();
            self.note(|| format!("close: {closed:?}"));
            if closed.is_ok() {
                for record in self.known.values_mut() {
                    record.synced = true;
                    if record.acked != Acked::No {
                        record.acked = Acked::Durable;
                    }
                }
            }
            // A log that was closed survives a power failure.
            end = if self.files.is_down() || (closed.is_ok() && self.rng.bool()) {
                End::Crash
            } else {
                End::Kill
            };
        } else {
            drop(log);
        }
        loop {
            match end {
                End::Crash => self.files.crash(),
                End::Kill | End::Close => {
                    self.sync_is_unreliable |= self.plan.faults.sync > 0.0;
                    self.files.kill();
                }
            }
            if self.plan.crashes && self.rng.bool() {
                let changes = self.rng.u64(..20);
                self.files.fail_power_after(changes);
            }
            let opened = Log::open(self.files.another(), self.settings.clone());
            self.note(|| {
                format!("{end:?}, open: {:?}", opened.as_ref().map(|opened| &opened.recovered))
            });
            match opened {
                // Its events are lost, so the damage that it has repaired is not reported again.
                Ok(opened) if self.files.is_down() => {
                    self.has_estimate |= !opened.recovered.damage.is_empty();
                    end = End::Crash;
                }
                Err(_) if self.files.is_down() => {
                    self.has_estimate |= self.plan.faults.read > 0.0;
                    end = End::Crash;
                }
                // A damaged segment could not be set aside.
                Err(_) if self.plan.faults.entry > 0.0 => {}
                Ok(opened) => {
                    self.log = Some(opened.log);
                    self.files.kill();
                    self.reappeared = self.files.main_bytes();
                    return self.check_recovered(end, &opened.recovered);
                }
                Err(error) => return Err(format!("cannot open: {error}")),
            }
        }
    }

    fn check_recovered(&mut self, end: End, recovered: &Recovered) -> Result<(), String> {
        let faults = self.plan.faults;
        let protected = faults.sync == 0.0 && faults.sync_directory == 0.0;
        self.take_events();
        let before = self.damaged;
        let mut cursor = self.log().cursor();
        let mut found = BTreeMap::new();
        let next = self.log().next_seq();
        while cursor.seq() < next {
            let start = cursor.seq();
            for (seq, record) in self.log().read(&mut cursor, 7, 1 << 20) {
                let id = id_of(&record)?;
                check(found.insert(seq, id).is_none(), || format!("record {seq} is read twice"))?;
            }
            if cursor.seq() == start {
                // Damaged records whose sync failed can be skipped when they are in another segment.
                check(faults.sync > 0.0, || format!("the cursor is stuck at {start}"))?;
                self.files.set_capacity(u64::MAX);
                let _ = self.log().sync_records();
            }
            self.take_events();
        }
        self.cursor = self.log().cursor();
        let count = found.len() as u64 + self.damaged - before;
        check(recovered.records == count, || {
            format!("{} records were recovered, {count} read", recovered.records)
        })?;
        for (seq, id) in &found {
            let offered = self.offered.get(seq).is_some_and(|ids| ids.contains(id));
            check(offered, || format!("record {seq} was not offered"))?;
            if let Some(known) = self.known.get(seq) {
                let changed = known.synced && known.acked == Acked::No && known.id != *id;
                check(!changed, || format!("record {seq} has changed"))?;
                // An acknowledgement that cannot be read is repeated.
                let readable = faults.read == 0.0 && !self.sync_is_unreliable;
                let again = known.acked == Acked::Durable && known.id == *id && readable;
                check(!again, || format!("acknowledged record {seq} appears again"))?;
            }
        }
        let lost: Vec<u64> = self
            .known
            .iter()
            .filter(|(seq, known)| {
                let required = known.synced || (end == End::Kill && protected);
                // Its acknowledgement could not be read before.
                let acked = faults.read > 0.0 && self.acked.contains(&known.id);
                required && known.acked == Acked::No && !acked && !found.contains_key(seq)
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in lost {
            self.lose(seq)?;
        }
        // Records that did not survive are forgotten, and their sequence numbers can be used again.
        self.known.retain(|seq, known| found.contains_key(seq) || known.acked != Acked::No);
        for (seq, id) in found {
            let survives_crash = end == End::Crash
                || self.known.get(&seq).is_some_and(|known| known.synced && known.id == id);
            let known = Known { id, synced: survives_crash, acked: Acked::No };
            self.known.insert(seq, known);
        }
        Ok(())
    }

    fn check_bounds(&mut self) -> Result<(), String> {
        let faults = self.plan.faults;
        let max = self.settings.max_bytes;
        let used = self.files.main_bytes();
        let stats = self.log().stats();
        let syncs = faults.sync == 0.0 && faults.sync_directory == 0.0;
        // Files that cannot be cut or removed, and records that are moved, need more space for a while.
        if faults.write == 0.0 && faults.entry == 0.0 && syncs {
            // Segments whose removal was not durable can reappear after a crash.
            self.reappeared = self.reappeared.min(used);
            let max = max.max(self.reappeared);
            check(used <= max, || format!("{used} of {max} bytes are used"))?;
            check(used <= stats.disk_bytes, || {
                format!("{used} bytes are used, {} are reported", stats.disk_bytes)
            })?;
        }
        let (_, open) = self.files.open_files();
        check(open <= 8, || format!("{open} files are open"))?;
        let unacked = self.known.values().filter(|record| record.acked == Acked::No).count();
        let damage = self.damaged.saturating_sub(self.missing);
        let lost = unacked as u64 <= stats.records + damage || self.has_estimate;
        check(stats.records <= unacked as u64 && lost, || {
            format!("{} records are reported, {unacked} are known", stats.records)
        })?;
        let unsynced = stats.unsynced_bytes;
        let bound = self.settings.segment_bytes + 4_000;
        check(unsynced <= bound, || format!("{unsynced} bytes are unsynced"))
    }

    /// Reads and acknowledges everything, after which one empty segment is left.
    fn drain(&mut self) -> Result<(), String> {
        let next = self.log().next_seq();
        self.log().acknowledge(0..next);
        let synced = self.log().sync();
        check(synced.is_ok(), || format!("cannot sync: {synced:?}"))?;
        check(self.log().stats().records == 0, || "records are left".to_owned())?;
        let mut names = self.files.names();
        names.retain(|name| !name.starts_with("damaged/"));
        check(names.len() <= 1, || format!("files are left: {names:?}"))?;
        let used = self.files.main_bytes();
        check(used <= 64, || format!("{used} bytes are left"))
    }
}

fn payload(id: u64, length: usize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((0..length as u64).map(|place| (id.wrapping_mul(31) + place) as u8));
    bytes
}

fn id_of(record: &SpooledRecord) -> Result<u64, String> {
    let data = record.record.data();
    let id = data.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let id = id.ok_or("a payload is too short")?;
    check(payload(id, data.len() - 8) == *data, || format!("the payload of {id} has changed"))?;
    Ok(id)
}

fn check(holds: bool, error: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(error()) }
}

fn run(seed: u64) -> Result<(), String> {
    // The log draws its salts from the generator of the thread.
    fastrand::seed(seed);
    let mut model = Model::new(seed);
    let result = model.run();
    for line in &model.trace {
        println!("T {line}");
    }
    result
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text}; set it to a number")))
}

#[test]
fn model_of_log_holds_for_all_seeds() {
    let seeds = match variable("SPOOL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SPOOL_SEEDS").unwrap_or(400),
    };
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let running = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| seeds.contains(seed))
        {
            running.lock().unwrap().push((seed, Instant::now()));
            let run = panic::catch_unwind(|| run(seed));
            running.lock().unwrap().retain(|(other, _)| *other != seed);
            if let Err(error) = run.unwrap_or_else(|_| Err("panicked".to_owned())) {
                failures.lock().unwrap().push((seed, error));
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            let running = running.lock().unwrap();
            if let Some((seed, _)) = running.iter().find(|(_, at)| at.elapsed() > HUNG_AFTER) {
                // A test cannot stop a thread that loops forever.
                eprintln!("seed {seed} hangs\n{}", replay(*seed));
                std::process::abort();
            }
            drop(running);
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let report: Vec<_> = failures
        .iter()
        .take(20)
        .map(|(seed, error)| format!("seed {seed}: {error}\n{}\n", replay(*seed)))
        .collect();
    assert!(failures.is_empty(), "{}{} of {seeds:?} failed", report.join(""), failures.len());
}

fn replay(seed: u64) -> String {
    // The replay must use the same profile, because debug assertions run only in debug builds.
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    format!(
        "replay: SPOOL_SEED={seed} cargo test{profile} --lib spool::log::tests::model -- --nocapture"
    )
}
