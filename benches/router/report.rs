use std::path::PathBuf;
use std::{env, fs, io};

use serde_json::{Value, json};

use super::cost::{Cost, Load};
use super::idle::Idle;
use super::memory::Memory;
use super::opening::Opening;

pub struct Report {
    pub costs: Vec<(Load, Vec<Cost>)>,
    pub memory: Vec<Memory>,
    pub idle: Vec<Idle>,
    pub opening: Opening,
}

impl Report {
    pub fn print(&self) {
        let heading = [
            "load",
            "streams",
            "records/request",
            "ns/record",
            "of which service",
            "ns/request",
            "ratio",
        ];
        print("CPU time, with the ratio to one stream", &heading, self.costs());
        let heading = ["metrics", "streams", "opened", "after use", "idle"];
        print("bytes on the heap per open stream", &heading, self.memory());
        print("an hour without records", &["streams", "timers", "CPU us"], self.idle());
        let heading = ["record", "CPU ns", "of which"];
        print(&self.opening_title(), &heading, self.opening());
    }

    fn costs(&self) -> Vec<Vec<String>> {
        let cells = |load: &Load, cost: &Cost| {
            vec![
                load.name.to_owned(),
                cost.streams.to_string(),
                format!("{:.1}", cost.records_per_request),
                format!("{:.0}", cost.ns_per_record),
                format!("{:.0}", cost.floor_ns_per_record),
                format!("{:.0}", cost.ns_per_request),
                format!("{:.2}", cost.ratio),
            ]
        };
        let rows = |(load, costs): &(Load, Vec<Cost>)| {
            costs.iter().map(|cost| cells(load, cost)).collect::<Vec<_>>()
        };
        self.costs.iter().flat_map(rows).collect()
    }

    fn memory(&self) -> Vec<Vec<String>> {
        let cells = |memory: &Memory| {
            let bytes = [memory.opened, memory.used, memory.idle];
            let bytes = bytes.map(|bytes| format!("{bytes:.0}"));
            [memory.metrics.to_owned(), memory.streams.to_string()].into_iter().chain(bytes)
        };
        self.memory.iter().map(|memory| cells(memory).collect()).collect()
    }

    fn idle(&self) -> Vec<Vec<String>> {
        let cells = |idle: &Idle| {
            let time = format!("{:.0}", idle.nanoseconds / 1e3);
            vec![idle.streams.to_string(), idle.timers.to_string(), time]
        };
        self.idle.iter().map(cells).collect()
    }

    fn opening_title(&self) -> String {
        let Opening { streams, max_streams, heap, .. } = self.opening;
        format!(
            "single records to {streams} streams, evicting with at most {max_streams} open \
             ({heap:.0} bytes per open stream afterwards)"
        )
    }

    fn opening(&self) -> Vec<Vec<String>> {
        let Opening { open, first, evicting, .. } = self.opening;
        [
            ("stream is open", open, String::new()),
            ("first of its stream", first, format!("opening {:.0}", first - open)),
            ("first, evicting another", evicting, format!("eviction {:.0}", evicting - first)),
        ]
        .map(|(name, time, part)| vec![name.to_owned(), format!("{time:.0}"), part])
        .into()
    }

    fn json(&self) -> Value {
        let cost = |load: &Load, cost: &Cost| {
            json!({
                "load": load.name,
                "streams": cost.streams,
                "records_per_request": tenths(cost.records_per_request),
                "ns_per_record": tenths(cost.ns_per_record),
                "service_ns_per_record": tenths(cost.floor_ns_per_record),
                "ns_per_request": tenths(cost.ns_per_request),
                "ratio_to_one_stream": (cost.ratio * 1e3).round() / 1e3,
            })
        };
        let costs =
            self.costs.iter().flat_map(|(load, costs)| costs.iter().map(|one| cost(load, one)));
        let memory = self.memory.iter().map(|memory| {
            json!({
                "metrics": memory.metrics,
                "streams": memory.streams,
                "opened_bytes": memory.opened.round(),
                "used_bytes": memory.used.round(),
                "idle_bytes": memory.idle.round(),
            })
        });
        let idle = self.idle.iter().map(|idle| {
            json!({ "streams": idle.streams, "timers": idle.timers, "cpu_ns": idle.nanoseconds })
        });
        let opening = &self.opening;
        json!({
            "cost": costs.collect::<Vec<_>>(),
            "memory": memory.collect::<Vec<_>>(),
            "idle_hour": idle.collect::<Vec<_>>(),
            "opening": {
                "streams": opening.streams,
                "max_streams": opening.max_streams,
                "open_ns": tenths(opening.open),
                "first_ns": tenths(opening.first),
                "evicting_ns": tenths(opening.evicting),
                "bytes_after_evictions": opening.heap.round(),
            },
        })
    }

    pub fn write(&self) -> io::Result<PathBuf> {
        let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
        fs::create_dir_all(&target)?;
        let path = target.join("router.json");
        fs::write(&path, serde_json::to_string_pretty(&self.json())? + "\n")?;
        Ok(path)
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Prints a table. The first column is aligned to the left.
fn print(title: &str, heading: &[&str], rows: Vec<Vec<String>>) {
    let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<Vec<String>> = [heading].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].len());
        widths.max().expect("a table has a heading")
    };
    println!("\n{title}\n");
    for line in &lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
