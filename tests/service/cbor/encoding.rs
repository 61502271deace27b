//! CBOR bodies, from what they are in JSON.

use ciborium::Value;

/// The same value in CBOR, with containers of known length.
pub fn cbor(json: &serde_json::Value) -> Vec<u8> {
    let mut body = Vec::new();
    ciborium::into_writer(json, &mut body).unwrap();
    body
}

/// The same value in CBOR, as the SDK's own codec writes it: containers end with a break.
pub fn unbounded(json: &serde_json::Value) -> Vec<u8> {
    let list = |open, items: Vec<Vec<u8>>| [vec![open], items.concat(), vec![0xff]].concat();
    match json {
        serde_json::Value::Array(items) => list(0x9f, items.iter().map(unbounded).collect()),
        serde_json::Value::Object(members) => {
            let member = |(name, value): (&String, _)| {
                [cbor(&name.as_str().into()), unbounded(value)].concat()
            };
            list(0xbf, members.iter().map(member).collect())
        }
        plain => cbor(plain),
    }
}

pub fn read(body: &[u8]) -> Value {
    ciborium::from_reader(body).expect("it is CBOR")
}

/// A map's member.
pub fn member<'a>(map: &'a Value, name: &str) -> &'a Value {
    let members = map.as_map().expect("it is a map");
    let named = |(known, _): &&(Value, Value)| known.as_text() == Some(name);
    &members.iter().find(named).unwrap_or_else(|| panic!("it has a {name}")).1
}
