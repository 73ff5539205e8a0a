//! The address of a webhook: checked here, once, so that whoever sends to it can take it as it is.

use super::fault::excerpt;
use super::limits::{MAX_HOST, MAX_URL, Quoted, Refusal};

/// What may stand there.
pub(super) const EXPECTED: &str = if !cfg!(feature = "webhook") {
    "`null`"
} else if cfg!(feature = "webhook-https") {
    "`null` or a URL such as `https://example.org/crash`"
} else {
    "`null` or an `http://` URL such as `http://127.0.0.1:9000/crash`"
};

const HTTP: &str = "http://";
const HTTPS: &str = "https://";

/// `http://host[:port][/path]`, in visible ASCII.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    let refusal = || Refusal::expected(EXPECTED).instead(shown(text));
    let advise = |advice: &str| refusal().advise(Some(advice.to_owned()));
    if !cfg!(feature = "webhook") {
        return Err(advise(
            "this program was built without webhooks: build it with the feature `webhook` of session",
        ));
    }
    let rest = match (text.strip_prefix(HTTP), text.strip_prefix(HTTPS)) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if cfg!(feature = "webhook-https") => rest,
        (None, Some(_)) => {
            return Err(advise(
                "build the program with the feature `webhook-https` of session, or send to a proxy of your own",
            ));
        }
        (None, None) => return Err(refusal()),
    };
    if text.len() > MAX_URL {
        return Err(
            Refusal::expected(format!("a URL of at most {MAX_URL} bytes"))
                .instead(format!("one of {}", text.len())),
        );
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(advise("a user name and password are not sent"));
    }
    if authority.starts_with('[') {
        return Err(advise("give an IPv6 address a name"));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if !is_host(host) {
        return Err(advise(
            "a host is at most 253 letters, digits, `.`, `-` and `_`, and begins with a letter or digit",
        ));
    }
    if !port.is_none_or(is_port) {
        return Err(advise("a port is a number from 1 to 65535"));
    }
    if !is_path(path) {
        return Err(advise(
            "behind the host stands a path: `/`, then visible ASCII without spaces and `#`",
        ));
    }
    Ok(())
}

fn is_host(text: &str) -> bool {
    text.len() <= MAX_HOST
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn is_port(text: &str) -> bool {
    // `parse` alone would take a sign, and zeros in front.
    text.starts_with(|first: char| ('1'..='9').contains(&first)) && text.parse::<u16>().is_ok()
}

fn is_path(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// As much of it as is no secret: tokens stand in the path, passwords in front of the host.
fn shown(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{}://", excerpt(scheme)), rest),
        None => (String::new(), text),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", authority),
    };
    let path = if path.len() > 1 { "/…" } else { path };
    Quoted(format_args!("\"{scheme}{user}{}{path}\"", excerpt(host))).to_string()
}

#[cfg(all(test, feature = "webhook"))]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let refusal = check(text).unwrap_err();
        refusal.found(refusal.own_words().unwrap())
    }

    #[test]
    fn an_address_has_a_host_and_may_have_a_port_and_a_path() {
        for text in [
            "http://a",
            "http://a/",
            "http://A-1.b_c.example",
            "http://127.0.0.1",
            "http://127.0.0.1:1/",
            "http://localhost:65535/crash?token=a%20b&c=[d]~!\"'",
            "http://example.org//x@y:z",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_says_why() {
        let host = "a host is at most 253 letters";
        let port = "a port is a number from 1 to 65535";
        let path = "behind the host stands a path";
        for (text, why) in [
            ("", "such as"),
            ("/crash", "such as"),
            ("127.0.0.1:9000", "such as"),
            ("ftp://a/", "such as"),
            ("HTTP://a/", "such as"),
            (" http://a/", "such as"),
            ("http:/a", "such as"),
            ("http://", host),
            ("http:///crash", host),
            ("http://:80/", host),
            ("http://-a/", host),
            ("http://.a/", host),
            ("http://a b/", host),
            ("http://é/", host),
            ("http://a\r\nX: y/", host),
            ("http://a\\b/", host),
            ("http://[::1]:80/", "give an IPv6 address a name"),
            ("http://::1/", host),
            ("http://me@a/", "are not sent"),
            ("http://me:secret@a/", "are not sent"),
            ("http://a:/", port),
            ("http://a:0/", port),
            ("http://a:080/", port),
            ("http://a:+80/", port),
            ("http://a:65536/", port),
            ("http://a:80:80/", port),
            ("http://a:99999999999999999999/", port),
            ("http://a?x", path),
            ("http://a#x", path),
            ("http://a/#x", path),
            ("http://a/x y", path),
            ("http://a/\r\nX: y", path),
            ("http://a/\u{7f}", path),
            ("http://a/é", path),
        ] {
            let told = refused(text);
            assert!(told.contains(why), "{text:?}: {told}");
            assert!(!told.contains(['\r', '\n', '\u{7f}']), "{text:?}: {told:?}");
        }
    }

    #[test]
    fn an_address_has_a_bound() {
        let long = |length: usize| format!("http://a/{}", "x".repeat(length - "http://a/".len()));
        assert_eq!(check(&long(MAX_URL)), Ok(()));
        for length in [MAX_URL + 1, 100 * MAX_URL] {
            let expected = format!("expected a URL of at most 2048 bytes, found one of {length}");
            assert_eq!(refused(&long(length)), expected);
        }
        let host = |length: usize| format!("http://{}/", "a".repeat(length));
        assert_eq!(check(&host(MAX_HOST)), Ok(()));
        for length in [MAX_HOST + 1, MAX_URL - 10] {
            assert!(check(&host(length)).is_err(), "{length}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_told() {
        for text in [
            "http://a b/services/hunter2",
            "http://a?hunter2",
            "http://a#hunter2",
            "http://me:hunter2@a/",
            "https://a:b:c/hunter2",
            "hooks.example/hunter2",
            "//hunter2",
        ] {
            assert!(!refused(text).contains("hunter2"), "{}", refused(text));
        }
        let told = "`\"http://…@a:1/…\"` (a user name and password are not sent)";
        assert!(refused("http://me:hunter2@a:1/b").ends_with(told));
    }

    #[test]
    #[cfg(not(feature = "webhook-https"))]
    fn https_is_refused_with_advice() {
        assert_eq!(
            refused("https://example.org/x"),
            "expected `null` or an `http://` URL such as `http://127.0.0.1:9000/crash`, found \
             `\"https://example.org/…\"` (build the program with the feature `webhook-https` of \
             session, or send to a proxy of your own)"
        );
    }

    #[test]
    #[cfg(feature = "webhook-https")]
    fn https_is_taken_where_it_is_built_in() {
        assert_eq!(check("https://example.org/x"), Ok(()));
        assert!(refused("https://me@example.org/x").contains("are not sent"));
    }
}
