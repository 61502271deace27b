//! Generated events, which are the same in every run.

use bytes::Bytes;
use fastrand::Rng;
use kinesis_sink::Record;

pub const EVENT_BYTES: usize = 100;

#[derive(Debug, Clone, Copy)]
pub struct Events {
    pub count: u32,
    pub devices: u32,
}

/// An event. Its device is the partition key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub device: String,
    pub json: Bytes,
}

impl Events {
    pub fn records(self) -> impl Iterator<Item = Record> {
        (0..self.count).map(move |number| {
            let event = self.event(number);
            Record::from((event.device, event.json))
        })
    }

    pub fn event(self, number: u32) -> Event {
        let mut rng = Rng::with_seed(u64::from(number));
        let device = format!("device-{}", rng.u32(..self.devices));
        let at = 1_767_225_600_000 + u64::from(number);
        let celsius = 10.0 + 15.0 * rng.f64();
        let mut json = format!(
            r#"{{"event":{number},"device":"{device}","at":{at},"celsius":{celsius:.2},"trace":""#
        );
        while json.len() < EVENT_BYTES - 2 {
            json.push(rng.digit(16));
        }
        json.push_str(r#""}"#);
        Event { device, json: json.into() }
    }
}

/// Returns the number at the start of an event, without validating the rest of the event.
pub fn number(json: &[u8]) -> Option<u32> {
    let rest = json.strip_prefix(br#"{"event":"#)?;
    let digits = rest.split(|byte| *byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
