//! The monitor's part: it outlives every worker, so what must not be lost is done here.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use serde_json::{Value, json};
use session::{Args, Monitor, MonitorHandle};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The longest name of a backup: its file's name must stay possible everywhere.
const MAX_NAME: usize = 64;
/// What a worker may take to tell of itself.
const DEBUG_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn set_up(monitor: &mut Monitor) -> session::Result<()> {
    let handle = monitor.handle();
    monitor.on_key(|key| match env::var_os("DASH_KEY_FILE") {
        Some(path) => write_key(Path::new(&path), key),
        None => Ok(()),
    });

    let log = handle.clone();
    monitor.on_crash(move |report| log.log(format!("to the maintainers: {}", report.summary())));

    let at = handle.clone();
    monitor.on("backup", move |message| {
        let saved = message
            .parse()
            .map_err(Into::into)
            .and_then(|name: String| back_up(&at, &name));
        let told = match saved {
            Ok(saved) => message.reply(saved),
            Err(error) => message.refuse(error),
        };
        if let Err(error) = told {
            at.log(format!("nobody was told of the backup: {error}"));
        }
    })?;

    let at = handle.clone();
    monitor.command("backup <name>", move |args| -> Result<()> {
        let saved = back_up(&at, args.get("name").unwrap_or_default())?;
        at.log(format!("saved {saved}"));
        Ok(())
    })?;
    let at = handle.clone();
    monitor.command("debug <active|passive> <recipient>", move |args| {
        debug(&at, args)
    })?;
    monitor.command("pull", move |_args| pull(&handle))
}

/// Readable by its owner alone from its first moment on.
fn write_key(path: &Path, key: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.as_bytes())
}

/// The state of the session, in a file that is there in full or not at all.
fn back_up(handle: &MonitorHandle, name: &str) -> Result<Value> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let found = name.escape_debug();
        return Err(format!(
            "expected a name of 1 to {MAX_NAME} letters, digits, `-` and `_`, found `{found}`"
        )
        .into());
    }
    let folder = env::var_os("DASH_BACKUP_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let (partial, path) = (
        folder.join(format!("{name}.part")),
        folder.join(format!("{name}.json")),
    );
    let state = serde_json::to_vec_pretty(&handle.status()?)?;
    fs::write(&partial, &state)?;
    fs::rename(&partial, &path)?;
    Ok(json!({ "path": path.display().to_string(), "bytes": state.len() }))
}

/// What is known (`passive`), and what the worker says when it is asked (`active`).
fn debug(handle: &MonitorHandle, args: &Args) -> Result<()> {
    let recipient = args.get("recipient").unwrap_or_default();
    let status = handle.status()?;
    let (state, generation, restarts) = (&status.state, status.generation, status.restarts);
    handle.log(format!(
        "to {recipient}: generation {generation} is {state}, after {restarts} restarts"
    ));
    if args.at(0) == Some("active") {
        let answer = handle.request("debug", (), DEBUG_TIMEOUT)?;
        handle.log(format!("to {recipient}: the worker says {answer}"));
    }
    Ok(())
}

/// Brings the working directory up to date, and starts the server anew in it.
fn pull(handle: &MonitorHandle) -> Result<()> {
    let pulled = Command::new("git")
        .args(["pull", "--ff-only"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()?;
    if !pulled.status.success() {
        return Err(String::from_utf8_lossy(&pulled.stderr).trim().into());
    }
    handle.log(String::from_utf8_lossy(&pulled.stdout).trim());
    Ok(handle.restart(true)?)
}
