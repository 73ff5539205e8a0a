//! The options of the attribute: one table says which exist, how each is written and what it becomes.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Lit, LitStr, Path, Result, Token};

/// The smallest stack that is accepted, in bytes: below 64 KiB the panic hook, which formats a
/// backtrace on the stack of the thread that panicked, has no room to work.
pub(crate) const MIN_STACK: u64 = 64 * 1024;

/// The largest: more is a mistake in the unit. Both bounds are those of the library.
pub(crate) const MAX_STACK: u64 = 1024 * 1024 * 1024;

/// The options that were given and are sound.
#[derive(Default)]
pub(crate) struct Options {
    /// Where the library is; `::session` if this was not said.
    pub(crate) library: Option<TokenStream>,
    /// The builder methods to call, each named as the user's option is, and its argument.
    pub(crate) calls: Vec<(Ident, TokenStream)>,
}

/// One option of the attribute.
struct Rule {
    name: &'static str,
    /// The option as one would write it.
    example: &'static str,
    /// What the value has to be.
    expected: &'static str,
    /// Turns the value into the argument of the builder method; `None` if it is of the wrong kind.
    read: fn(&Expr) -> Option<Result<TokenStream>>,
}

const RULES: [Rule; 5] = [
    Rule {
        name: "monitor",
        example: "monitor = path::to::function",
        expected: "a path to a function",
        read: monitor,
    },
    Rule {
        name: "config",
        example: r#"config = "session.config.json""#,
        expected: "a string, the path of a configuration file",
        read: config,
    },
    Rule {
        name: "panic",
        example: r#"panic = "any""#,
        expected: r#"`"any"` or `"main"`"#,
        read: panic,
    },
    Rule {
        name: "stack",
        example: "stack = 8_388_608",
        expected: "an integer, the number of bytes",
        read: stack,
    },
    Rule {
        name: CRATE,
        example: "crate = path::to::session",
        expected: "the path of the session crate",
        read: library,
    },
];

/// The one option that is no builder method: it says where the builder is.
const CRATE: &str = "crate";

/// What `panic =` may say, and the variant of `PanicPolicy` that it stands for.
const POLICIES: [(&str, &str); 2] = [("any", "Any"), ("main", "Main")];

/// Reads the options: those that are sound, and every fault of the others.
pub(crate) fn parse(tokens: TokenStream) -> (Options, Vec<Error>) {
    let mut options = Options::default();
    let mut faults = Vec::new();
    let list = |input: ParseStream<'_>| {
        let mut seen = Vec::new();
        while !input.is_empty() {
            if let Err(fault) = option(input, &mut seen, &mut options) {
                faults.push(fault);
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(fault) = list.parse2(tokens) {
        faults.push(fault);
    }
    (options, faults)
}

/// Reads one `name = value` up to its comma.
fn option(
    input: ParseStream<'_>,
    seen: &mut Vec<&'static str>,
    options: &mut Options,
) -> Result<()> {
    let Ok(name) = input.call(Ident::parse_any) else {
        return Err(input.error(format!("expected an option: {}", one_of())));
    };
    let Some(rule) = RULES.iter().find(|rule| name == rule.name) else {
        return Err(Error::new(name.span(), unknown(&name.to_string())));
    };
    if seen.contains(&rule.name) {
        let text = format!("`{name}` is given twice: remove one of them");
        return Err(Error::new(name.span(), text));
    }
    seen.push(rule.name);

    let value = value(input, &name, rule)?;
    let argument = (rule.read)(&value).unwrap_or_else(|| {
        let text = format!("expected {}, found {}", rule.expected, kind(&value));
        Err(Error::new_spanned(&value, text))
    })?;
    if rule.name == CRATE {
        options.library = Some(argument);
    } else {
        options.calls.push((name, argument));
    }
    Ok(())
}

/// Reads `= value`, with nothing but a comma behind it.
fn value(input: ParseStream<'_>, name: &Ident, rule: &Rule) -> Result<Expr> {
    let ends = |input: ParseStream<'_>| input.is_empty() || input.peek(Token![,]);
    let missing = || {
        Error::new(
            name.span(),
            format!("`{name}` needs a value: write `{}`", rule.example),
        )
    };
    let malformed = |at| Error::new(at, format!("expected `{}`", rule.example));
    if ends(input) {
        return Err(missing());
    }
    if !input.peek(Token![=]) || input.peek(Token![==]) {
        return Err(malformed(input.span()));
    }
    input.parse::<Token![=]>()?;
    if ends(input) {
        return Err(missing());
    }
    let mut value = input
        .parse()
        .map_err(|fault: Error| malformed(fault.span()))?;
    if !ends(input) {
        return Err(input.error("expected `,` between two options"));
    }
    // A value that came through a `macro_rules!` parameter is wrapped in an invisible group.
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    Ok(value)
}

fn skip_to_comma(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

fn monitor(value: &Expr) -> Option<Result<TokenStream>> {
    matches!(value, Expr::Path(_)).then(|| Ok(value.to_token_stream()))
}

fn config(value: &Expr) -> Option<Result<TokenStream>> {
    let path = string(value)?;
    Some(if path.value().is_empty() {
        let text = "expected the path of a configuration file, found an empty string: leave \
                    `config` out to read `session.config.json` in the working directory";
        Err(Error::new(path.span(), text))
    } else {
        Ok(path.to_token_stream())
    })
}

fn panic(value: &Expr) -> Option<Result<TokenStream>> {
    let policy = string(value)?;
    let found = policy.value();
    Some(match POLICIES.iter().find(|(name, _)| *name == found) {
        Some((_, variant)) => {
            let variant = Ident::new(variant, policy.span());
            Ok(quote!(__session::PanicPolicy::#variant))
        }
        None => {
            let text = format!(r#"expected `"any"` or `"main"`, found `"{found}"`"#);
            Err(Error::new(policy.span(), text))
        }
    })
}

fn stack(value: &Expr) -> Option<Result<TokenStream>> {
    let Expr::Lit(syn::ExprLit {
        lit: Lit::Int(literal),
        ..
    }) = value
    else {
        return None;
    };
    let fault = |text: String| Some(Err(Error::new(literal.span(), text)));
    if !matches!(literal.suffix(), "" | "usize") {
        return fault(format!(
            "expected an integer without a suffix, found `{literal}`"
        ));
    }
    match literal.base10_parse::<u64>() {
        Ok(bytes) if (MIN_STACK..=MAX_STACK).contains(&bytes) => {
            let mut bytes = Literal::u64_unsuffixed(bytes);
            bytes.set_span(literal.span());
            Some(Ok(bytes.to_token_stream()))
        }
        Ok(bytes) if bytes < MIN_STACK => fault(format!(
            "expected at least {MIN_STACK} bytes ({} KiB) of stack, found `{literal}`",
            MIN_STACK / 1024
        )),
        Ok(_) => fault(format!(
            "expected at most {MAX_STACK} bytes ({} MiB) of stack, found `{literal}`",
            MAX_STACK / (1024 * 1024)
        )),
        Err(_) => fault(format!(
            "expected a number of bytes, found `{literal}`, which is too large"
        )),
    }
}

fn library(value: &Expr) -> Option<Result<TokenStream>> {
    let fault = |text| Some(Err(Error::new_spanned(value, text)));
    if let Expr::Path(path) = value {
        if path.qself.is_some() || !is_plain(&path.path) {
            return fault("expected the path of the session crate, without generics".to_owned());
        }
        return Some(Ok(value.to_token_stream()));
    }
    let text = string(value)?;
    match text.parse_with(Path::parse_mod_style) {
        Ok(path) => Some(Ok(path.to_token_stream())),
        Err(_) => {
            let found = text.value();
            fault(format!(
                "expected the path of the session crate, found `\"{found}\"`"
            ))
        }
    }
}

/// Whether a path has no generic arguments, so that `use` accepts it.
fn is_plain(path: &Path) -> bool {
    path.segments
        .iter()
        .all(|segment| segment.arguments.is_none())
}

fn string(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(syn::ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// What a value is, in words.
fn kind(value: &Expr) -> &'static str {
    match value {
        Expr::Path(_) => "a path",
        Expr::Closure(_) => "a closure",
        Expr::Lit(literal) => match literal.lit {
            Lit::Str(_) => "a string",
            Lit::Int(_) => "an integer",
            Lit::Float(_) => "a fraction",
            Lit::Bool(_) => "a boolean",
            _ => "another kind of literal",
        },
        _ => "an expression",
    }
}

fn unknown(name: &str) -> String {
    let near = RULES.iter().find(|rule| is_near(name, rule.name));
    let hint = near.map_or_else(String::new, |rule| {
        format!("did you mean `{}`? ", rule.name)
    });
    format!("unknown option `{name}`: {hint}{}", one_of())
}

fn one_of() -> String {
    let names: Vec<_> = RULES
        .iter()
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    format!("expected one of {}", names.join(", "))
}

/// Whether `given` is `known` with a slip or two of the keyboard.
fn is_near(given: &str, known: &str) -> bool {
    const SLIPS: usize = 2;
    edits(given, known) <= SLIPS
}

/// The least number of characters to insert, remove or replace to get from `from` to `to`.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Options, Vec<String>) {
        let (options, faults) = parse(text.parse().unwrap());
        (options, faults.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn accepts(text: &str, expected: &[&str]) {
        let (options, faults) = read(text);
        assert_eq!(faults, [""; 0], "{text}");
        let mut found: Vec<_> = options
            .calls
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        found.extend(options.library.map(|path| format!("crate: {path}")));
        assert_eq!(found, expected, "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, expected: &[&str]) {
        let (_, faults) = read(text);
        assert_eq!(faults, expected, "{text}");
    }

    #[test]
    fn what_is_accepted() {
        accepts("", &[]);
        accepts("monitor = customise", &["monitor: customise"]);
        accepts(
            "monitor = ::a::b::<C, D>,",
            &["monitor: :: a :: b :: < C , D >"],
        );
        accepts("monitor = <A as B>::c", &["monitor: < A as B > :: c"]);
        accepts(r#"config = "a b.json""#, &[r#"config: "a b.json""#]);
        accepts(r##"config = r#"a"b"#"##, &[r##"config: r#"a"b"#"##]);
        accepts(
            r#"panic = "any""#,
            &["panic: __session :: PanicPolicy :: Any"],
        );
        accepts(
            r#"panic = "main""#,
            &["panic: __session :: PanicPolicy :: Main"],
        );
        accepts("crate = a", &["crate: a"]);
        accepts("crate = crate::a", &["crate: crate :: a"]);
        accepts(r#"crate = "::a::b""#, &["crate: :: a :: b"]);
        accepts(
            r#"stack = 65_536, crate = a, monitor = b, panic = "any", config = "c""#,
            &[
                "stack: 65536",
                "monitor: b",
                "panic: __session :: PanicPolicy :: Any",
                r#"config: "c""#,
                "crate: a",
            ],
        );
    }

    #[test]
    fn every_example_of_the_table_is_accepted() {
        for rule in &RULES {
            let (options, faults) = read(rule.example);
            assert_eq!(faults, [""; 0], "{}", rule.example);
            assert_eq!(
                options.calls.len() + usize::from(options.library.is_some()),
                1
            );
        }
    }

    #[test]
    fn stack_has_a_floor_and_a_range() {
        let small =
            |found| format!("expected at least 65536 bytes (64 KiB) of stack, found `{found}`");
        accepts("stack = 65536", &["stack: 65536"]);
        accepts("stack = 65537usize", &["stack: 65537"]);
        accepts("stack = 0x800_000", &["stack: 8388608"]);
        accepts("stack = 1_073_741_824", &["stack: 1073741824"]);
        for found in ["1_073_741_825", "18446744073709551615"] {
            let large =
                format!("expected at most 1073741824 bytes (1024 MiB) of stack, found `{found}`");
            refuses(&format!("stack = {found}"), &[&large]);
        }
        refuses("stack = 65535", &[&small("65535")]);
        refuses("stack = 0", &[&small("0")]);
        let large = "18446744073709551616";
        let text = format!("expected a number of bytes, found `{large}`, which is too large");
        refuses(&format!("stack = {large}"), &[&text]);
        let text = "expected an integer without a suffix, found `65536u8`";
        refuses("stack = 65536u8", &[text]);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named() {
        let kinds = [
            (r#""a""#, "a string"),
            ("7", "an integer"),
            ("7.5", "a fraction"),
            ("true", "a boolean"),
            ("b'a'", "another kind of literal"),
            ("a::b", "a path"),
            ("|a, b| a", "a closure"),
            ("-7", "an expression"),
            ("f(a, b)", "an expression"),
        ];
        for rule in &RULES {
            let mut refused = 0;
            for (value, kind) in kinds {
                let (_, faults) = read(&format!("{} = {value}", rule.name));
                let expected = format!("expected {}, found {kind}", rule.expected);
                refused += usize::from(faults == [expected]);
            }
            // Each option takes one kind of value, save for `crate`, which takes two.
            let taken = if rule.name == CRATE { 2 } else { 1 };
            assert_eq!(refused, kinds.len() - taken, "{}", rule.name);
        }
    }

    #[test]
    fn names_are_checked() {
        let list = "expected one of `monitor`, `config`, `panic`, `stack`, `crate`";
        let near = |name, known| format!("unknown option `{name}`: did you mean `{known}`? {list}");
        for (name, known) in [
            ("moniter", "monitor"),
            ("montior", "monitor"),
            ("confg", "config"),
            ("Panic", "panic"),
            ("stak", "stack"),
            ("krate", "crate"),
        ] {
            refuses(&format!("{name} = 1"), &[&near(name, known)]);
        }
        refuses(
            "workers = 1",
            &[&format!("unknown option `workers`: {list}")],
        );
        let long = "m".repeat(10_000);
        refuses(
            &format!("{long} = 1"),
            &[&format!("unknown option `{long}`: {list}")],
        );
        refuses("7", &[&format!("expected an option: {list}")]);
        refuses(
            r#"stack = 65536, , panic = "any""#,
            &[&format!("expected an option: {list}")],
        );
    }

    #[test]
    fn values_are_asked_for() {
        let write = r#"write `config = "session.config.json"`"#;
        let missing = format!("`config` needs a value: {write}");
        refuses("config", &[&missing]);
        refuses("config,", &[&missing]);
        refuses("config =", &[&missing]);
        refuses("config = ,", &[&missing]);
        let malformed = r#"expected `config = "session.config.json"`"#;
        refuses(r#"config("a")"#, &[malformed]);
        refuses(r#"config == "a""#, &[malformed]);
        refuses(r#"config: "a""#, &[malformed]);
        refuses("config = ;", &[malformed]);
        refuses(r#"config = "a" "b""#, &["expected `,` between two options"]);
    }

    #[test]
    fn an_empty_string_is_no_path() {
        refuses(
            r#"config = "", crate = """#,
            &[
                "expected the path of a configuration file, found an empty string: leave `config` \
                 out to read `session.config.json` in the working directory",
                r#"expected the path of the session crate, found `""`"#,
            ],
        );
    }

    #[test]
    fn a_crate_is_named_by_a_plain_path() {
        let generic = "expected the path of the session crate, without generics";
        refuses("crate = a::<B>", &[generic]);
        refuses("crate = <A>::b", &[generic]);
        refuses(
            r#"crate = "a b""#,
            &["expected the path of the session crate, found `\"a b\"`"],
        );
    }

    #[test]
    fn all_faults_are_told_and_the_sound_options_kept() {
        let (options, faults) =
            read(r#"moniter = a, stack = 1, panic = "all", config = "b", stack = 65536, crate"#);
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert_eq!(faults[2], r#"expected `"any"` or `"main"`, found `"all"`"#);
        assert_eq!(faults[3], "`stack` is given twice: remove one of them");
        assert_eq!(options.calls.len(), 1);
    }
}
