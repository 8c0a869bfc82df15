//! The machine-readable contract (`tests/openapi.json`), and what does not conform to it.

use std::collections::HashMap;

use helena_sync::sandbox::RequestSeen;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// The contract.
pub(super) struct Spec {
    document: Value,
    /// The document's schemas as JSON Schema knows them.
    schemas: Value,
    /// Validators by the reference or the text of what they validate.
    compiled: HashMap<String, Validator>,
}

impl Spec {
    pub(super) fn load() -> Self {
        let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
        let mut schemas = document["components"]["schemas"].clone();
        // Errors are told apart by their fields alone, so none may have others.
        for body in ["InternalException", "ProblemDetails"] {
            schemas[body]["additionalProperties"] = json!(false);
        }
        Self {
            schemas: converted(&schemas),
            document,
            compiled: HashMap::new(),
        }
    }

    /// All operations, as `GET /core/v1/tag`.
    pub(super) fn operations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                found.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        found
    }

    /// The operation of a request: its name and its description. A path of words goes before one
    /// with a parameter, as in every router.
    pub(super) fn operation(&self, method: &str, path: &str) -> Option<(String, &Value)> {
        let mut found: Vec<(&String, &Value)> = self.document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(template, _)| fits(template, path))
            .collect();
        found.sort_by_key(|(template, _)| template.contains('{'));
        let (template, methods) = found.first()?;
        let operation = methods.get(method.to_lowercase())?;
        Some((format!("{method} {template}"), operation))
    }

    /// A schema with the document's others in reach.
    fn validator(&mut self, schema: &Value) -> &Validator {
        let schemas = &self.schemas;
        self.compiled.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = converted(schema);
            whole["$defs"] = schemas.clone();
            jsonschema::options()
                .should_validate_formats(true)
                .build(&whole)
                .unwrap()
        })
    }

    /// What a value breaks of a schema; where in it, but not the whole value.
    fn broken(&mut self, schema: &Value, value: &Value) -> Vec<String> {
        let errors = self.validator(schema).iter_errors(value);
        errors
            .map(|error| {
                let text: String = error.to_string().chars().take(200).collect();
                format!("{}: {text}", error.instance_path())
            })
            .collect()
    }

    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        part.get("$ref").and_then(Value::as_str).map_or(part, |to| {
            self.document.pointer(to.trim_start_matches('#')).unwrap()
        })
    }

    /// What is wrong with a request.
    pub(super) fn wrong_request(&mut self, request: &RequestSeen) -> Vec<String> {
        let Some((name, operation)) = self.operation(&request.method, &request.path) else {
            return vec![format!(
                "{} {}: no such operation",
                request.method, request.path
            )];
        };
        let parameters = operation["parameters"].as_array().cloned();
        let parameters: Vec<Value> = parameters
            .unwrap_or_default()
            .iter()
            .map(|parameter| self.resolved(parameter).clone())
            .collect();
        let mut wrong = Vec::new();
        for parameter in &parameters {
            let (key, place) = (&parameter["name"], &parameter["in"]);
            let schema = self.resolved(&parameter["schema"]).clone();
            let given: Vec<String> = if place == "path" {
                let template = name.split_once(' ').unwrap().1;
                placed(template, &request.path, key.as_str().unwrap())
            } else {
                let given = request.query.iter().filter(|(name, _)| key == name);
                given.map(|(_, value)| value.clone()).collect()
            };
            if given.is_empty() {
                if parameter["required"] == true {
                    wrong.push(format!("{name}: {key} is missing"));
                }
                continue;
            }
            let values: Vec<Value> = given.iter().map(|text| self.typed(&schema, text)).collect();
            let value = match &*values {
                _ if schema["type"] == "array" => Value::Array(values),
                [one] => one.clone(),
                _ => {
                    wrong.push(format!("{name}: {key} is repeated"));
                    continue;
                }
            };
            let broken = self.broken(&schema, &value);
            wrong.extend(broken.iter().map(|why| format!("{name}: {key}{why}")));
        }
        for (key, _) in &request.query {
            let known = |parameter: &Value| parameter["in"] == "query" && &parameter["name"] == key;
            if !parameters.iter().any(known) {
                wrong.push(format!("{name}: has no parameter {key}"));
            }
        }
        wrong
    }

    /// A parameter's text as a value of its type.
    fn typed(&self, schema: &Value, text: &str) -> Value {
        let inner = schema.get("items").map(|items| self.resolved(items));
        match inner.unwrap_or(schema)["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
            Some("boolean") => text.parse::<bool>().map_or(json!(text), Value::from),
            _ => json!(text),
        }
    }

    /// What is wrong with a request's body.
    pub(super) fn wrong_body(&mut self, method: &str, path: &str, body: &Value) -> Vec<String> {
        let (name, operation) = self.operation(method, path).unwrap();
        let schema = operation["requestBody"]["content"]["application/json"]["schema"].clone();
        let broken = self.broken(&schema, body);
        broken.iter().map(|why| format!("{name} {why}")).collect()
    }

    /// What is wrong with an answer.
    pub(super) fn wrong_answer(
        &mut self,
        (method, path): (&str, &str),
        status: u16,
        body: &Value,
    ) -> Vec<String> {
        let Some((name, operation)) = self.operation(method, path) else {
            return vec![format!("{method} {path}: no such operation")];
        };
        let answer = self.resolved(&operation["responses"][status.to_string()]);
        let schema = answer["content"]["application/json"]["schema"].clone();
        if schema.is_null() {
            return vec![format!("{name}: answers {status}, which is not documented")];
        }
        let broken = self.broken(&schema, body);
        broken
            .iter()
            .map(|why| format!("{name} ({status}) {why}"))
            .collect()
    }
}

/// Whether a path is one of a template's.
fn fits(template: &str, path: &str) -> bool {
    let (mut words, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (words.next(), parts.next()) {
            (None, None) => return true,
            (Some(word), Some(part)) if word.starts_with('{') && !part.is_empty() => {}
            (Some(word), Some(part)) if word == part => {}
            _ => return false,
        }
    }
}

/// The part of a path that stands for a template's parameter.
fn placed(template: &str, path: &str, name: &str) -> Vec<String> {
    let name = format!("{{{name}}}");
    let pairs = template.split('/').zip(path.split('/'));
    let mut found = pairs.filter(|(word, _)| *word == name);
    found
        .next()
        .map(|(_, part)| part.to_owned())
        .into_iter()
        .collect()
}

/// A schema of `OpenAPI` 3.0 in JSON Schema's words: null is a type, the range of an integer a
/// minimum and a maximum, and references lead to `$defs`.
fn converted(schema: &Value) -> Value {
    match schema {
        Value::Array(all) => all.iter().map(converted).collect(),
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("nullable", Value::Bool(_)) => {}
                    ("$ref", Value::String(to)) => {
                        let to = to.replace("#/components/schemas/", "#/$defs/");
                        out.insert(name.clone(), json!(to));
                    }
                    ("enum", _) => {
                        out.insert(name.clone(), value.clone());
                    }
                    ("format", Value::String(format)) if format == "int32" => {
                        out.entry("minimum").or_insert(json!(i32::MIN));
                        out.entry("maximum").or_insert(json!(i32::MAX));
                    }
                    _ => {
                        out.insert(name.clone(), converted(value));
                    }
                }
            }
            if fields.get("nullable") == Some(&json!(true)) {
                if let Some(kind) = fields.get("type").and_then(Value::as_str) {
                    out.insert("type".to_owned(), json!([kind, "null"]));
                }
                assert!(
                    !fields.contains_key("$ref"),
                    "a reference cannot be nullable"
                );
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

#[test]
fn a_request_that_is_not_documented_is_found() {
    let mut spec = Spec::load();
    let mut wrong = |path: &str, query: &[(&str, &str)]| {
        let query = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        spec.wrong_request(&RequestSeen {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: query.collect(),
            status: 200,
            at: helena_sync::data::Timestamp::from_micros(0),
            items: 0,
            token: None,
        })
        .len()
    };
    let list = "/chat/v1/session";
    assert_eq!(
        wrong(list, &[("Status", "STARTED"), ("Status", "PENDING")]),
        0
    );
    for query in [
        ("PageSize", "101"),
        ("PageSize", "many"),
        ("PageNumber", "2147483648"),
        ("pageNumber", "1"),
        ("Status", "ON_HOLD"),
        ("IncludeDetails", "DepartmentDetails"),
        ("ContactId", "7"),
        ("UpdatedAt.After", "2026-05-04"),
        ("UpdatedAt.After", "2026-05-04 12:00"),
        // The second version's alone.
        ("Type", "GROUP"),
    ] {
        assert_eq!(wrong(list, &[query]), 1, "{query:?}");
    }
    assert_eq!(wrong(list, &[("PageSize", "1"), ("PageSize", "2")]), 1);
    assert_eq!(wrong("/chat/v1/message", &[]), 1);
    assert_eq!(wrong("/chat/v2/session/7", &[]), 1);
    assert_eq!(wrong("/chat/v3/session", &[]), 1);
}

#[test]
fn an_answer_that_is_not_documented_is_found() {
    let mut spec = Spec::load();
    let mut wrong = |status, body: Value| {
        let all = spec.wrong_answer(("GET", "/core/v1/tag"), status, &body);
        all.len()
    };
    let tag = json!({"id": "00000000-0000-0000-0000-000000000001", "color": null,
                     "createdAt": "2026-05-04T12:44:52.1182041Z"});
    assert_eq!(wrong(200, json!([tag])), 0);
    for (field, value) in [
        ("id", json!("7")),
        ("id", json!(null)),
        ("createdAt", json!("2026-05-04 12:44:52")),
        ("color", json!("GREY_100")),
        ("colour", json!("GRAY_100")),
    ] {
        let mut other = tag.clone();
        other[field] = value;
        assert_eq!(wrong(200, json!([other])), 1, "{other}");
    }
    assert_eq!(wrong(200, json!({"items": []})), 1);
    assert_eq!(wrong(302, json!([])), 1);
    assert_eq!(
        wrong(
            500,
            json!({"error": true, "httpStatusCode": "InternalServerError"})
        ),
        0
    );
    assert_eq!(wrong(500, json!({"mensagem": "?"})), 1);
}
