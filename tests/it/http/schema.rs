//! Answers held against `docs/openapi.json`: as much of JSON Schema as that file uses. What it does not know is an
//! error, so that nothing is described in words that are not checked.

use serde_json::{Map, Value};
use tradebus::daemon::http::OPENAPI;

/// Keys that say nothing about a value, or that schemathesis checks.
const SILENT: [&str; 4] = ["description", "format", "examples", "title"];

/// Whether a path is one of a route with names in braces.
pub fn is_route(route: &str, path: &str) -> bool {
    let fits = |(a, b): (&str, &str)| a == b || a.starts_with('{');
    route.split('/').count() == path.split('/').count() && route.split('/').zip(path.split('/')).all(fits)
}

/// What is wrong about an answer as the page shows it: status, headers, an empty line, and a body whose lines may be
/// broken.
pub fn problems_of(method: &str, path: &str, answer: &str) -> Vec<String> {
    let api: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let path = path.split('?').next().unwrap_or_default();
    let (head, body) = answer.split_once("\n\n").expect("a head and a body");
    let status = head.lines().next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let routes = api["paths"].as_object().expect("paths");
    let Some((_, route)) = routes.iter().find(|(route, _)| is_route(route, path)) else {
        return vec![format!("{path} is not described")];
    };
    let told = &route[method.to_lowercase()]["responses"][status];
    let Some((kind, content)) = told["content"].as_object().and_then(|content| content.iter().next()) else {
        return if told.is_object() {
            Vec::new()
        } else {
            vec![format!("{method} {path}: {status} is not described")]
        };
    };
    if !kind.ends_with("json") || path.ends_with("openapi.json") {
        return Vec::new();
    }
    let value = serde_json::from_str(&body.replace("\n ", "")).expect("JSON");
    let mut found = Vec::new();
    check(&api, &content["schema"], &value, &format!("{method} {path} {status}"), &mut found);
    found
}

fn check(api: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (key, said) in schema.as_object().expect("a schema") {
        let fits = match key.as_str() {
            key if SILENT.contains(&key) => true,
            "$ref" => {
                let name = said.as_str().and_then(|path| path.strip_prefix('#')).expect("a path");
                let referred = api.pointer(name).unwrap_or_else(|| panic!("{said} is not there"));
                check(api, referred, value, at, found);
                true
            }
            "type" => match said {
                Value::Array(types) => types.iter().any(|one| is_a(one, value)),
                one => is_a(one, value),
            },
            "enum" => said.as_array().expect("a list").contains(value),
            "const" => said == value,
            "oneOf" | "anyOf" => said.as_array().expect("a list").iter().any(|one| {
                let mut wrong = Vec::new();
                check(api, one, value, at, &mut wrong);
                wrong.is_empty()
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(api, said, item, &format!("{at}[{index}]"), found);
                }
                true
            }
            "required" => {
                let names = said.as_array().expect("names").iter().filter_map(Value::as_str);
                value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
            }
            "properties" => {
                let known = said.as_object().expect("properties");
                for (name, one) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = known.get(name) {
                        check(api, schema, one, &format!("{at}.{name}"), found);
                    }
                }
                true
            }
            "additionalProperties" => *said != false || has_only(value, &schema["properties"]),
            "minimum" => value.as_f64().is_none_or(|value| Some(value) >= said.as_f64()),
            "maximum" => value.as_f64().is_none_or(|value| Some(value) <= said.as_f64()),
            other => panic!("{at}: {other} is not understood"),
        };
        if !fits {
            found.push(format!("{at}: {value} is not {key} {said}"));
        }
    }
}

fn has_only(value: &Value, known: &Value) -> bool {
    let known = known.as_object().cloned().unwrap_or_else(Map::new);
    value.as_object().is_none_or(|object| object.keys().all(|name| known.contains_key(name)))
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other} is not a type"),
    }
}
