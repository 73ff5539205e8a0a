//! One value of the file, read as the type that its key asks for.

use std::net::IpAddr;

use serde_json::{Map, Number, Value};

use super::DieWithMonitor;
use super::fault::{Faults, Path};
use super::json::{Json, Member, Node};
use super::limits::{self, Refusal, did_you_mean, one_of, whole};
use super::section::refuse;
use super::url;
use crate::near::near;

pub(super) fn boolean(json: &Json<'_>) -> Result<bool, Refusal> {
    match json {
        Json::Bool(value) => Ok(*value),
        _ => Err(Refusal::expected("`true` or `false`")),
    }
}

/// The number that stands here. What is no number becomes NaN, which lies in no range, so that the
/// check of the range tells what was expected in either case.
pub(super) fn number(json: &Json<'_>) -> f64 {
    let number = match json {
        Json::Number(digits) => plain_number(digits).and_then(|number| number.as_f64()),
        _ => None,
    };
    number.unwrap_or(f64::NAN)
}

/// A count without an upper limit. More failures than fit would take a century of probes, so there
/// the greatest count means the same.
pub(super) fn count(json: &Json<'_>) -> Result<u32, Refusal> {
    let count = whole(number(json)).ok_or_else(|| Refusal::expected("a whole number from 0"))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(super) fn max_failures(json: &Json<'_>) -> Result<Option<u32>, Refusal> {
    match json {
        Json::Null => Ok(None),
        _ => limits::max_failures(whole(number(json))).map(Some),
    }
}

pub(super) fn choice<T: Copy>(json: &Json<'_>, choices: &[(&str, T)]) -> Result<T, Refusal> {
    if let Json::Text(text) = json
        && let Some((_, value)) = choices.iter().find(|(name, _)| name == text)
    {
        return Ok(*value);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    Err(no_choice(json, &names))
}

/// What is not to be had is refused: it would only be missed on the day it is needed.
pub(super) fn die_with_monitor(
    json: &Json<'_>,
    has_signal: bool,
) -> Result<DieWithMonitor, Refusal> {
    const ENDS: &[(&str, DieWithMonitor)] = &[
        ("drain", DieWithMonitor::Drain),
        ("kill", DieWithMonitor::Kill),
    ];
    match choice(json, ENDS)? {
        DieWithMonitor::Kill if !has_signal => {
            let advice = "only Linux can kill a worker when its monitor is gone".to_owned();
            Err(Refusal::expected("`drain`").advise(Some(advice)))
        }
        end => Ok(end),
    }
}

fn no_choice(json: &Json<'_>, names: &[&str]) -> Refusal {
    let advice = match json {
        Json::Text(text) => near(text, names).map(did_you_mean),
        _ => None,
    };
    Refusal::expected(one_of(names)).advise(advice)
}

pub(super) fn identifier(json: &Json<'_>) -> Result<String, Refusal> {
    match json {
        Json::Text(text) if is_label(text) => Ok(text.clone()),
        _ => Err(Refusal::expected(
            "a string that is not empty and has no control characters",
        )),
    }
}

pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

pub(super) fn host(json: &Json<'_>) -> Result<IpAddr, Refusal> {
    let address = match json {
        Json::Text(text) => text.parse().ok(),
        _ => None,
    };
    address.ok_or_else(|| Refusal::expected("an IP address such as `127.0.0.1` or `::1`"))
}

pub(super) fn route(json: &Json<'_>) -> Result<Option<String>, Refusal> {
    match json {
        Json::Null => Ok(None),
        Json::Text(text)
            if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(text.clone()))
        }
        _ => Err(Refusal::expected(
            "`null` or a path: `/`, then visible ASCII without spaces",
        )),
    }
}

pub(super) fn webhook(json: &Json<'_>) -> Result<Option<String>, Refusal> {
    match json {
        Json::Null => Ok(None),
        Json::Text(text) => url::check(text).map(|()| Some(text.clone())),
        _ => Err(Refusal::expected(url::EXPECTED)),
    }
}

/// The tree without its places.
pub(super) fn plain(node: &Node<'_>, path: &Path<'_>, faults: &mut Faults) -> Value {
    match &node.json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(digits) => plain_number(digits).map_or_else(
            || {
                let refusal = Refusal::expected("a number within the range of a 64-bit float");
                refuse(faults, node, path, &refusal);
                Value::Null
            },
            Value::Number,
        ),
        Json::Text(text) => Value::String(text.clone()),
        Json::Array(items) => {
            let items = items.iter().enumerate();
            items
                .map(|(index, item)| plain(item, &Path::Index(path, index), faults))
                .collect()
        }
        Json::Object(members) => {
            // One by one: to collect them would sort them first.
            let mut object = Map::new();
            for Member { name, value, .. } in members {
                let value = plain(value, &Path::Key(path, name), faults);
                object.insert(name.clone(), value);
            }
            Value::Object(object)
        }
    }
}

/// Whole numbers stay exact as far as 64 bits go. Read as all other JSON is: the standard library
/// has another reader of floats, whose tables cost 14 KB.
pub(crate) fn plain_number(digits: &str) -> Option<Number> {
    match serde_json::from_str(digits) {
        Ok(Value::Number(number)) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_with_the_monitor_is_refused_where_the_system_has_none() {
        let kill = Json::Text("kill".into());
        let drain = Json::Text("drain".into());
        assert_eq!(die_with_monitor(&kill, true), Ok(DieWithMonitor::Kill));
        for has_signal in [true, false] {
            assert_eq!(
                die_with_monitor(&drain, has_signal),
                Ok(DieWithMonitor::Drain)
            );
        }
        let refusal = die_with_monitor(&kill, false).unwrap_err();
        let advice = "only Linux can kill a worker when its monitor is gone".to_owned();
        assert_eq!(refusal, Refusal::expected("`drain`").advise(Some(advice)));
    }
}
