//! The table as JSON Schema (draft 07): `config.schema` and `config.schema.lookup`.

use crate::reload::Reload;
use crate::schema::{Key, Kind, Others, Schema};
use serde_json::{Map, Value, json};

/// The answer of `config.schema`.
pub fn schema(schema: &Schema, version: &str, generated_at: &str) -> Value {
    let mut root = node(schema.root(), true);
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("OpenClawConfig");
    let mut hints = Map::new();
    collect_hints(schema.root(), "", &mut hints);
    json!({"schema": root, "uiHints": hints, "version": version, "generatedAt": generated_at})
}

/// The answer of `config.schema.lookup`; `None` when there is no such path.
pub fn lookup(schema: &Schema, path: &str) -> Option<Value> {
    let parts = parts(path)?;
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let key = schema.find(&names)?;
    let path = joined(&names);
    let children: Vec<Value> = key
        .children
        .iter()
        .map(|child| {
            let child_path = member_path(&path, child.name);
            let mut shown = json!({
                "key": child.name,
                "path": child_path,
                "required": child.is_required,
                "hasChildren": !child.children.is_empty(),
                "reloadKind": Reload::of(&child_path).as_str(),
            });
            if let Some(kind) = json_type(&child.kind) {
                shown["type"] = json!(kind);
            }
            with_hint(&mut shown, child, &child_path);
            shown
        })
        .collect();
    let mut shown = json!({
        "path": path,
        "schema": node(key, false),
        "reloadKind": Reload::of(&path).as_str(),
        "children": children,
    });
    with_hint(&mut shown, key, &path);
    Some(shown)
}

/// `a.b[].c`, `a.b.*.c`, `a/b`, `a.b[0].c`: names and items; `None` when a part is empty or there is none.
fn parts(path: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for part in path.split(['.', '/']) {
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            parts.push(name.to_owned());
        } else if rest.is_empty() {
            return None;
        }
        while let Some(after) = rest.strip_prefix('[') {
            let (_, after) = after.split_once(']')?;
            parts.push("[]".to_owned());
            rest = after;
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn joined(names: &[&str]) -> String {
    names.iter().fold(String::new(), |path, name| member_path(&path, name))
}

fn member_path(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "[]") => format!("{path}[]"),
        (path, name) => format!("{path}.{name}"),
    }
}

/// The schema of one key, with its members or without.
fn node(key: &Key, with_children: bool) -> Value {
    let mut shown = of_kind(&key.kind);
    if let Some(default) = key.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        shown["default"] = default;
    }
    let required: Vec<&str> =
        key.children.iter().filter(|child| child.is_required).map(|child| child.name).collect();
    if !required.is_empty() {
        shown["required"] = json!(required);
    }
    if !with_children {
        return shown;
    }
    let mut properties = Map::new();
    for child in &key.children {
        match child.name {
            "*" => shown["additionalProperties"] = node(child, true),
            "[]" => shown["items"] = node(child, true),
            name => {
                properties.insert(name.to_owned(), node(child, true));
            }
        }
    }
    if !properties.is_empty() {
        shown["properties"] = Value::Object(properties);
    }
    shown
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Object(Others::Refused) => json!({"type": "object", "additionalProperties": false}),
        Kind::Object(Others::Alike | Others::Untouched) => {
            json!({"type": "object", "additionalProperties": true})
        }
        Kind::List => json!({"type": "array"}),
        Kind::Any => json!({}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::False => json!({"type": "boolean", "const": false}),
        Kind::Number { is_whole, min, is_positive, max } => {
            let mut shown = json!({"type": if *is_whole { "integer" } else { "number" }});
            if let Some(min) = min {
                shown["minimum"] = number(*min);
            }
            if *is_positive {
                shown["exclusiveMinimum"] = json!(0);
            }
            if let Some(max) = max {
                shown["maximum"] = number(*max);
            }
            shown
        }
        Kind::Text { min, max } => {
            let mut shown = json!({"type": "string"});
            if *min > 0 {
                shown["minLength"] = json!(min);
            }
            if let Some(max) = max {
                shown["maxLength"] = json!(max);
            }
            shown
        }
        Kind::Secret => json!({"anyOf": [{"type": "string"}, {
            "type": "object",
            "properties": {
                "source": {"type": "string", "enum": ["env", "file", "exec"]},
                "provider": {"type": "string"},
                "id": {"type": "string"},
            },
            "required": ["source", "id"],
            "additionalProperties": false,
        }]}),
        Kind::Color => json!({"type": "string", "pattern": "^#?[0-9a-fA-F]{6}$"}),
        Kind::OneOf(choices) => json!({"type": "string", "enum": choices}),
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
    }
}

/// Whole numbers without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}

fn json_type(kind: &Kind) -> Option<Value> {
    of_kind(kind).get("type").cloned()
}

fn collect_hints(key: &Key, path: &str, hints: &mut Map<String, Value>) {
    for child in &key.children {
        let path = member_path(path, child.name);
        if let Some(hint) = hint(child) {
            hints.insert(path.clone(), hint);
        }
        collect_hints(child, &path, hints);
    }
}

fn with_hint(shown: &mut Value, key: &Key, path: &str) {
    if let Some(hint) = hint(key) {
        shown["hint"] = hint;
        shown["hintPath"] = json!(path);
    }
}

fn hint(key: &Key) -> Option<Value> {
    if key.name.is_empty() || key.name == "[]" && !key.is_sensitive {
        return None;
    }
    let mut hint = json!({"label": label(key.name)});
    if let Some(help) = key.help {
        hint["help"] = json!(help);
    }
    if key.is_sensitive || key.kind == Kind::Secret {
        hint["sensitive"] = json!(true);
    }
    Some(hint)
}

/// `allowRealIpFallback` becomes `Allow Real Ip Fallback`.
fn label(name: &str) -> String {
    let mut label = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at == 0 {
            label.extend(letter.to_uppercase());
        } else {
            if letter.is_ascii_uppercase() {
                label.push(' ');
            }
            label.push(letter);
        }
    }
    label
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_whole_schema_says_what_the_table_says() {
        let all = schema(&Schema::load(), "1", "t");
        let gateway = &all["schema"]["properties"]["gateway"];
        assert_eq!(gateway["additionalProperties"], false);
        assert_eq!(
            gateway["properties"]["port"],
            json!({"type": "integer", "minimum": 1, "maximum": 65535, "default": 18789})
        );
        assert_eq!(
            gateway["properties"]["trustedProxies"],
            json!({"type": "array", "items": {"type": "string"}})
        );
        assert_eq!(all["uiHints"]["gateway.auth.token"]["sensitive"], true);
        assert_eq!(all["schema"]["properties"]["env"]["additionalProperties"], json!({"type": "string"}));
    }

    #[test]
    fn a_lookup_shows_one_level() {
        let schema = Schema::load();
        let auth = lookup(&schema, "gateway.auth").unwrap();
        assert_eq!(auth["schema"], json!({"type": "object", "additionalProperties": false}));
        let children = auth["children"].as_array().unwrap();
        let child = |key: &str| children.iter().find(|child| child["key"] == key).unwrap();
        assert_eq!(child("token")["hint"]["sensitive"], true);
        assert_eq!(
            (&child("rateLimit")["hasChildren"], &child("rateLimit")["type"]),
            (&json!(true), &json!("object"))
        );
        assert_eq!(lookup(&schema, "env.vars").unwrap()["children"][0]["path"], "env.vars.*");
        assert_eq!(lookup(&schema, "agents.list[0].id").unwrap()["path"], "agents.list[].id");
        assert_eq!(lookup(&schema, "gateway/port").unwrap()["reloadKind"], "restart");
        let plugin = lookup(&schema, "plugins.entries.memory-core.config").unwrap();
        assert_eq!(
            (&plugin["schema"]["type"], &plugin["children"][0]["path"]),
            (&json!("object"), &json!("plugins.entries.memory-core.config.*"))
        );
        for path in ["nosuch", "gateway.nosuch", ".", "gateway..port", "gateway.port.x", "a[", "["] {
            assert_eq!(lookup(&schema, path), None, "{path}");
        }
    }
}
