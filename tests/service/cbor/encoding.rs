//! Helpers that encode JSON values as CBOR and read CBOR maps.

use ciborium::Value;

/// Encodes a value with containers of definite length.
pub fn cbor(json: &serde_json::Value) -> Vec<u8> {
    let mut body = Vec::new();
    ciborium::into_writer(json, &mut body).unwrap();
    body
}

/// Encodes a value with containers of indefinite length, as the SDK's codec does.
pub fn cbor_indefinite(json: &serde_json::Value) -> Vec<u8> {
    let list = |open, items: Vec<Vec<u8>>| [vec![open], items.concat(), vec![0xff]].concat();
    match json {
        serde_json::Value::Array(items) => list(0x9f, items.iter().map(cbor_indefinite).collect()),
        serde_json::Value::Object(members) => {
            let member = |(name, value): (&String, _)| {
                [cbor(&name.as_str().into()), cbor_indefinite(value)].concat()
            };
            list(0xbf, members.iter().map(member).collect())
        }
        plain => cbor(plain),
    }
}

pub fn read(body: &[u8]) -> Value {
    ciborium::from_reader(body).expect("invalid CBOR")
}

pub fn member<'a>(map: &'a Value, name: &str) -> &'a Value {
    let members = map.as_map().expect("not a map");
    let named = |(known, _): &&(Value, Value)| known.as_text() == Some(name);
    &members.iter().find(named).unwrap_or_else(|| panic!("no member {name}")).1
}
