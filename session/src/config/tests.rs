//! The corpus in `fixtures/config`, read by the validator and by the published schema.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fault::MAX_SHOWN;
use super::limits::*;
use super::validate::{NOTIFY_KEYS, RESTART_KEYS, STOP_KEYS, TOP_KEYS, WORKER_KEYS};
use super::*;

/// A corpus that shrinks by accident must not pass.
const MIN_FILES: usize = 300;

/// What the schema cannot say, so that it takes these files, and why.
const BEYOND_THE_SCHEMA: &[(&str, &str)] = &[
    ("depth-one-above-limit", DEPTH),
    ("duplicate-in-app", DUPLICATES),
    ("duplicate-in-stop", DUPLICATES),
    ("duplicate-key", DUPLICATES),
    ("duplicate-key-escaped", DUPLICATES),
    ("duplicate-key-same-value", DUPLICATES),
    ("duplicate-key-three-times", DUPLICATES),
    ("duplicate-port", DUPLICATES),
    ("ports-equal", EQUAL),
    ("ports-equal-notations", EQUAL),
    ("ports-equal-three", EQUAL),
    ("delay-max-below-default-min", COMPARISON),
    ("delay-min-above-default-max", COMPARISON),
    ("delay-min-above-max", COMPARISON),
    ("timeout-above-default-interval", COMPARISON),
    ("timeout-above-interval", COMPARISON),
    ("webhook-https", FEATURE),
];
const DEPTH: &str = "a schema sees values, not how deep they are nested";
const DUPLICATES: &str = "a schema sees the object that is left once keys are merged";
const EQUAL: &str = "only the items of an array can be asked to differ";
const COMPARISON: &str = "a schema cannot compare one value with another";
const FEATURE: &str = "a schema does not know how the program was built";

struct Fixture {
    name: String,
    bytes: Vec<u8>,
    path: PathBuf,
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/config")
        .join(folder);
    let mut fixtures: Vec<Fixture> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| is_for_this_build(path))
        .map(|path| Fixture {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: fs::read(&path).unwrap(),
            path,
        })
        .collect();
    fixtures.sort_by(|left, right| left.name.cmp(&right.name));
    fixtures
}

/// What is said of a webhook is for a build as most are.
fn is_for_this_build(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let is_usual = cfg!(feature = "webhook") && !cfg!(feature = "webhook-https");
    is_usual || !name.starts_with("webhook-")
}

fn good(text: &str) -> Config {
    parse(text.as_bytes(), "config.json").unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref(), "config.json").unwrap_err().to_string()
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../session.schema.json")).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn every_file_to_accept_loads() {
    let (accept, refuse, seed) = (fixtures("accept"), fixtures("refuse"), fixtures("seed"));
    for Fixture { name, bytes, .. } in &accept {
        if let Err(faults) = parse(bytes, "config.json") {
            panic!("{name}: {faults}");
        }
    }
    let count = accept.len() + refuse.len() + seed.len();
    assert!(count >= MIN_FILES, "{count}");
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn every_file_to_refuse_tells_exactly_what_is_wrong() {
    for Fixture { name, bytes, path } in fixtures("refuse") {
        let Err(faults) = parse(&bytes, "config.json") else {
            panic!("{name} is accepted")
        };
        let expected = fs::read_to_string(path.with_extension("expect")).unwrap();
        assert_eq!(format!("{faults}\n"), expected, "{name}");
    }
}

/// The seven keys of the seed, as it would have read them.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn every_file_of_the_seed_loads_unchanged() {
    for Fixture { name, bytes, .. } in fixtures("seed") {
        let given: Value = serde_json::from_slice(&bytes).unwrap();
        let config =
            parse(&bytes, "config.json").unwrap_or_else(|faults| panic!("{name}: {faults}"));
        let mut expected = Config::default();
        for (key, value) in given.as_object().unwrap() {
            let number = value.as_f64().unwrap_or_default();
            let text = value.as_str().unwrap_or_default().to_owned();
            match key.as_str() {
                "showServerOutput" => expected.show_server_output = value.as_bool().unwrap(),
                "masterIdentifier" => expected.monitor_identifier = text,
                "workerIdentifier" => expected.worker_identifier = text,
                "ports" => expected.ports = seed_ports(value),
                "pollingRoute" => expected.polling_route = Some(text),
                "pollingIntervalSeconds" => {
                    expected.polling_interval = Duration::from_secs_f64(number);
                    expected.polling_timeout =
                        expected.polling_interval.min(Duration::from_secs(5));
                }
                "pollingFailureTolerance" => {
                    expected.polling_failure_tolerance = format!("{number}").parse().unwrap();
                }
                _ => panic!("{name}: `{key}` is no key of the seed"),
            }
        }
        assert_eq!(config, expected, "{name}");
    }
}

fn seed_ports(value: &Value) -> BTreeMap<String, u16> {
    let port = |value: &Value| format!("{}", value.as_f64().unwrap()).parse().unwrap();
    value
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), port(value)))
        .collect()
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn the_schema_and_the_validator_agree() {
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema())
        .unwrap();
    let takes = |bytes: &[u8]| {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(bytes).is_ok_and(|value| schema.is_valid(&value))
    };
    for Fixture { name, bytes, .. } in fixtures("accept").iter().chain(&fixtures("seed")) {
        assert!(takes(bytes), "the schema refuses {name}");
    }
    let refused = fixtures("refuse");
    for Fixture { name, bytes, .. } in &refused {
        let beyond = BEYOND_THE_SCHEMA.iter().find(|(listed, _)| listed == name);
        match (takes(bytes), beyond) {
            (true, None) => panic!("the schema takes {name}"),
            (false, Some((_, reason))) => panic!("the schema refuses {name}, against: {reason}"),
            (true, Some(_)) | (false, None) => {}
        }
    }
    for (listed, _) in BEYOND_THE_SCHEMA {
        assert!(
            refused.iter().any(|fixture| fixture.name == *listed)
                || !is_for_this_build(Path::new(listed)),
            "there is no {listed}"
        );
    }
}

#[test]
fn the_schema_has_the_keys_of_the_validator() {
    let schema = schema();
    for (pointer, known) in [
        ("/properties", TOP_KEYS),
        ("/properties/stop/properties", STOP_KEYS),
        ("/properties/restart/properties", RESTART_KEYS),
        ("/properties/worker/properties", WORKER_KEYS),
        ("/properties/notify/properties", NOTIFY_KEYS),
    ] {
        let keys = schema.pointer(pointer).unwrap().as_object().unwrap().keys();
        let mut keys: Vec<&str> = keys.map(String::as_str).collect();
        let mut known = known.to_vec();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known, "{pointer}");
    }
}

#[test]
fn the_schema_has_the_limits_of_the_validator() {
    let schema = schema();
    let ports = f64::from(*PRIVILEGED_PORT_RANGE.start())..=f64::from(*PRIVILEGED_PORT_RANGE.end());
    let failures = f64::from(*MAX_FAILURES.start())..=f64::from(*MAX_FAILURES.end());
    for (pointer, range) in [
        ("/properties/ports/additionalProperties", ports),
        ("/properties/pollingIntervalSeconds", INTERVAL_SECONDS),
        ("/properties/startupTimeoutSeconds", STARTUP_SECONDS),
        ("/properties/stop/properties/graceSeconds", GRACE_SECONDS),
        (
            "/properties/restart/properties/minDelaySeconds",
            DELAY_SECONDS,
        ),
        (
            "/properties/restart/properties/maxDelaySeconds",
            DELAY_SECONDS,
        ),
        ("/properties/restart/properties/jitter", JITTER),
        (
            "/properties/restart/properties/stableSeconds",
            STABLE_SECONDS,
        ),
        ("/properties/restart/properties/maxFailures", failures),
        (
            "/properties/restart/properties/withinSeconds",
            WITHIN_SECONDS,
        ),
    ] {
        let limit = |name: &str| schema.pointer(pointer).unwrap()[name].as_f64().unwrap();
        assert_eq!(limit("minimum")..=limit("maximum"), range, "{pointer}");
    }
    let unprivileged = "/allOf/0/else/properties/ports/additionalProperties/minimum";
    let least = schema.pointer(unprivileged).unwrap().as_u64();
    assert_eq!(least, Some(u64::from(*PORT_RANGE.start())));
}

/// A file that spells out every default of the schema says nothing.
#[test]
fn the_schema_has_the_defaults_of_the_validator() {
    fn defaults(properties: &Value) -> Value {
        let properties = properties.as_object().unwrap().iter();
        let default = |(name, property): (&String, &Value)| {
            let nested = property.get("properties").map(defaults);
            (
                name.clone(),
                property.get("default").cloned().or(nested).unwrap(),
            )
        };
        Value::Object(properties.map(default).collect())
    }
    let text = defaults(&schema()["properties"]).to_string();
    assert_eq!(good(&text), Config::default());
}

#[test]
fn what_is_absent_is_the_default() {
    for text in [
        "{}",
        r#"{ "stop": {}, "restart": {}, "worker": {}, "notify": {} }"#,
    ] {
        assert_eq!(good(text), Config::default());
    }
}

#[test]
fn what_is_false_or_zero_is_kept() {
    let config = good(
        r#"{ "showServerOutput": false, "pollingRoute": null, "pollingFailureTolerance": 0,
             "stop": { "graceSeconds": 0 }, "worker": { "mayKill": false, "maySetPort": false },
             "restart": { "minDelaySeconds": 0, "maxDelaySeconds": 0, "jitter": 0, "stableSeconds": 0 },
             "app": "" }"#,
    );
    assert_eq!(config.polling_route, None);
    assert_eq!(config.readiness, Readiness::Hello);
    assert_eq!(config.grace, Duration::ZERO);
    assert!(!config.worker.may_kill && !config.worker.may_set_port);
    assert_eq!(
        (config.restart.min_delay, config.restart.max_delay),
        Default::default()
    );
    assert_eq!(
        (config.restart.jitter, config.restart.stable),
        (0.0, Duration::ZERO)
    );
    assert_eq!(config.app, Value::String(String::new()));
}

#[test]
#[cfg(feature = "webhook")]
fn a_webhook_arrives_as_it_is() {
    let url = "http://alerts:9000/crash?token=a%20b";
    let config = good(&format!(r#"{{ "notify": {{ "webhook": "{url}" }} }}"#));
    assert_eq!(config.webhook.as_deref(), Some(url));
}

#[test]
#[cfg(not(feature = "webhook"))]
fn a_webhook_that_is_not_built_in_says_which_feature_is_missing() {
    let told = faults(r#"{ "notify": { "webhook": "http://alerts/secret" } }"#);
    assert_eq!(
        told,
        "config.json:1:26: notify.webhook: expected `null`, found `\"http://alerts/…\"` (this \
         program was built without webhooks: build it with the feature `webhook` of session)"
    );
}

#[test]
fn every_key_arrives_in_its_place() {
    let config = good(
        r#"{ "showServerOutput": true, "masterIdentifier": "boss", "workerIdentifier": "shop",
             "host": "::1", "ports": { "server": 443, "socket": 8080 }, "allowPrivilegedPorts": true,
             "pollingRoute": "/health", "pollingIntervalSeconds": 12.5, "pollingFailureTolerance": 3,
             "pollingTimeoutSeconds": 2.5, "readiness": "call", "startupTimeoutSeconds": 90,
             "stop": { "graceSeconds": 25 },
             "restart": { "policy": "on-failure", "minDelaySeconds": 0.25, "maxDelaySeconds": 61,
                          "jitter": 0.5, "stableSeconds": 20, "maxFailures": 5, "withinSeconds": 120 },
             "worker": { "mayKill": false, "maySetPort": true, "dieWithMonitor": "kill" },
             "notify": { "webhook": null }, "spare": false, "app": { "a": [1, -2, 0.5] } }"#,
    );
    let expected = Config {
        show_server_output: true,
        monitor_identifier: "boss".into(),
        worker_identifier: "shop".into(),
        host: "::1".parse().unwrap(),
        ports: BTreeMap::from([("server".into(), 443), ("socket".into(), 8080)]),
        allow_privileged_ports: true,
        polling_route: Some("/health".into()),
        polling_interval: Duration::from_millis(12_500),
        polling_failure_tolerance: 3,
        polling_timeout: Duration::from_millis(2_500),
        readiness: Readiness::Call,
        startup_timeout: Duration::from_secs(90),
        grace: Duration::from_secs(25),
        restart: Restart {
            policy: RestartPolicy::OnFailure,
            min_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(61),
            jitter: 0.5,
            stable: Duration::from_secs(20),
            max_failures: Some(5),
            within: Duration::from_secs(120),
        },
        worker: WorkerRights {
            may_kill: false,
            may_set_port: true,
            die_with_monitor: DieWithMonitor::Kill,
        },
        webhook: None,
        app: serde_json::json!({ "a": [1, -2, 0.5] }),
    };
    assert_eq!(config, expected);
}

#[test]
fn a_timeout_left_out_follows_a_short_interval() {
    for (text, timeout) in [
        (r#"{ "pollingIntervalSeconds": 2 }"#, 2),
        (r#"{ "pollingIntervalSeconds": 5 }"#, 5),
        (r#"{ "pollingIntervalSeconds": 600 }"#, 5),
        (
            r#"{ "pollingIntervalSeconds": 600, "pollingTimeoutSeconds": 600 }"#,
            600,
        ),
    ] {
        assert_eq!(
            good(text).polling_timeout,
            Duration::from_secs(timeout),
            "{text}"
        );
    }
    let tiny = good(r#"{ "pollingTimeoutSeconds": 1e-12 }"#);
    assert_eq!(
        tiny.polling_timeout,
        Duration::from_nanos(1),
        "never none at all"
    );
}

#[test]
fn a_tolerance_has_no_upper_limit() {
    for (text, tolerance) in [
        (r#"{ "pollingFailureTolerance": 4294967295 }"#, u32::MAX),
        (r#"{ "pollingFailureTolerance": 4294967296 }"#, u32::MAX),
        (r#"{ "pollingFailureTolerance": 1e300 }"#, u32::MAX),
        (r#"{ "pollingFailureTolerance": 3.0 }"#, 3),
    ] {
        assert_eq!(good(text).polling_failure_tolerance, tolerance, "{text}");
    }
}

#[test]
fn the_numbers_of_the_app_stay_exact() {
    let config = good(
        r#"{ "app": [18446744073709551615, -9223372036854775808, 18446744073709551616, -0, 0.1, 5e-324] }"#,
    );
    let Value::Array(numbers) = &config.app else {
        panic!("{}", config.app)
    };
    assert_eq!(numbers[0].as_u64(), Some(u64::MAX));
    assert_eq!(numbers[1].as_i64(), Some(i64::MIN));
    assert_eq!(numbers[2].as_f64(), Some(18_446_744_073_709_551_616.0));
    assert!(numbers[3].as_f64().is_some_and(f64::is_sign_negative));
    assert_eq!(numbers[4].as_f64(), Some(0.1));
    assert_eq!(numbers[5].as_f64(), Some(5e-324));
}

#[test]
fn every_mistake_has_its_line_in_the_order_of_the_file() {
    let mistakes = [
        (r#""showServerOutput": 1"#, "showServerOutput"),
        (r#""ports": { "server": 80 }"#, "ports.server"),
        (r#""restart": { "jitter": 2 }"#, "restart.jitter"),
        (r#""colour": "red""#, "colour"),
        (r#""worker": { "mayKill": null }"#, "worker.mayKill"),
    ];
    // Every rotation, so that no order of the file happens to be the order of the checks.
    for start in 0..mistakes.len() {
        let rotated = mistakes.iter().cycle().skip(start).take(mistakes.len());
        let lines: Vec<&str> = rotated.clone().map(|(line, _)| *line).collect();
        let told = faults(format!("{{\n{}\n}}", lines.join(",\n")));
        assert_eq!(told.lines().count(), mistakes.len(), "{told}");
        for (line, (told, (_, path))) in told.lines().zip(rotated).enumerate() {
            let place = format!("config.json:{}:", line + 2);
            assert!(told.starts_with(&place), "{told}");
            assert!(told.contains(&format!(": {path}: expected ")), "{told}");
        }
    }
}

#[test]
fn one_mistake_has_one_line() {
    for text in [
        // What depends on a mistaken value is not held against it.
        r#"{ "pollingIntervalSeconds": 0, "pollingTimeoutSeconds": 86400 }"#,
        r#"{ "restart": { "minDelaySeconds": 9999, "maxDelaySeconds": 0 } }"#,
        r#"{ "restart": { "minDelaySeconds": 3600, "maxDelaySeconds": "1" } }"#,
        r#"{ "allowPrivilegedPorts": 1, "ports": { "server": 80 } }"#,
        r#"{ "pollingRoute": 1, "readiness": "probe" }"#,
        r#"{ "ports": [] }"#,
        r#"{ "ports": { "server": 3000, "server": 3000 } }"#,
    ] {
        assert_eq!(faults(text).lines().count(), 1, "{}", faults(text));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter minutes")]
fn a_file_full_of_faults_is_told_in_bounded_space() {
    let keys = |count: usize| {
        (0..count)
            .map(|n| format!("\"k{n}\":0"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let told = faults(format!("{{{}}}", keys(2_000)));
    assert_eq!(told.lines().count(), MAX_SHOWN + 1);
    assert_eq!(told.lines().last(), Some("config.json: and 1900 more"));
    let told = faults(format!("{{\"{}\":0}}", "k".repeat(200_000)));
    assert!(told.len() < 400, "{}", told.len());
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter minutes")]
fn the_size_is_limited() {
    let sized = |length: usize| {
        let frame = r#"{ "app": "" }"#.len();
        format!(r#"{{ "app": "{}" }}"#, "x".repeat(length - frame))
    };
    assert!(parse(sized(MAX_BYTES).as_bytes(), "config.json").is_ok());
    for length in [MAX_BYTES + 1, MAX_BYTES * 8] {
        let expected = format!(
            "config.json:1:1: top level: expected at most {MAX_BYTES} bytes, found {length}"
        );
        assert_eq!(faults(sized(length)), expected);
    }
}

#[test]
fn a_terminal_sees_no_foreign_control_character() {
    let text = r#"{ "\u001b]0;x\u0007": "\u202e", "app\u009b": 1, "host": "\u001b[2J\u009b" }"#;
    let told = parse(text.as_bytes(), "a\u{1b}b.json")
        .unwrap_err()
        .to_string();
    assert!(
        !told.contains(|letter: char| letter.is_control() && letter != '\n'),
        "{told:?}"
    );
    assert!(!told.contains('\u{202e}'), "{told:?}");
}

#[test]
fn a_known_port_moves() {
    let mut config = good(r#"{ "ports": { "server": 3000, "socket": 3001 } }"#);
    assert_eq!(config.set_port("socket", 4000), Ok(()));
    assert_eq!(
        config.set_port("server", 3001),
        Ok(()),
        "which is free by now"
    );
    assert_eq!(
        config.set_port("server", 3001),
        Ok(()),
        "which it has already"
    );
    let before = config.clone();
    for (name, value, expected) in [
        (
            "sokcet",
            4001,
            "expected a port named `server` or `socket`, found `sokcet` (did you mean `socket`?)",
        ),
        (
            "Web\u{1b}",
            4001,
            "expected a port named `server` or `socket`, found `Web\\u{1b}`",
        ),
        (
            "socket",
            3001,
            "expected a port of its own, found `3001` (`ports.server` has it too)",
        ),
        (
            "socket",
            1023,
            "expected a port from 1024 to 65535, found `1023` (set `allowPrivilegedPorts` to `true` for ports below 1024)",
        ),
        ("socket", 0, "expected a port from 1024 to 65535, found `0`"),
        (
            "socket",
            65536,
            "expected a port from 1024 to 65535, found `65536`",
        ),
    ] {
        assert_eq!(config.set_port(name, value), Err(expected.to_owned()));
        assert_eq!(config, before, "a refusal changes nothing");
    }
}

#[test]
fn a_shorter_interval_takes_the_timeout_with_it() {
    let mut config = Config::default();
    config.set_polling_interval(Duration::from_secs(600));
    assert_eq!(config.polling_timeout, Duration::from_secs(5));
    config.set_polling_interval(Duration::from_secs(2));
    assert_eq!(config.polling_interval, Duration::from_secs(2));
    assert_eq!(config.polling_timeout, Duration::from_secs(2));
}
