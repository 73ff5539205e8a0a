//! The function under the attribute: parse, validate, expand.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, ReturnType, Safety, Signature, Type, Visibility};

use crate::args::{self, Options};

const ASYNC: &str = "session uses threads, not async: remove `async` and start your runtime inside \
                     `main`, for example `tokio::runtime::Runtime::new()?.block_on(serve())` (the \
                     axum example shows a whole server)";
const CONST: &str = "`main` runs, it is not evaluated by the compiler: remove `const`";
const UNSAFE: &str = "`main` is called by session: remove `unsafe` and write an unsafe block where \
                      one is needed";
const EXTERN: &str = "`main` is called by session, in Rust: remove `extern`";
const GENERICS: &str = "nobody could choose the generic parameters of `main`: remove them";
const WHERE: &str = "`main` has nothing to constrain: remove the where clause";
const RECEIVER: &str = "`main` has no `self`: put #[session::main] on a function outside of any \
                        `impl` or `trait`";
const ARGUMENT: &str = "`main` takes the worker and nothing else: remove this argument";
const VARIADIC: &str = "`main` takes the worker and nothing else: remove `...` and read \
                        `std::env::args()`";
const BODY: &str = "`main` has nothing to run: write a body";
const NO_FUNCTION: &str = "#[session::main] belongs on the function `main`: write it above `fn main()` or \
                    `fn main(worker: session::Worker)`";

/// What the attribute stands for: the function made a session, or its faults and the function.
pub(crate) fn rewrite(options: TokenStream, item: TokenStream) -> TokenStream {
    let (options, mut faults) = args::parse(options);
    let emitted = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => {
            faults.extend(validate(&function));
            if faults.is_empty() {
                expand(&function, &options)
            } else {
                keep(function, item)
            }
        }
        Err(_) => {
            faults.push(Error::new(keyword_of(&item), NO_FUNCTION));
            beside(&item)
        }
    };
    let faults = faults.iter().map(Error::to_compile_error);
    quote!(#(#faults)* #emitted)
}

/// A function whose body is not looked into, so that what is wrong in there is told by rustc, at the
/// user's own line, and an editor can complete a body that does not parse yet.
struct Function {
    attrs: Vec<Attribute>,
    vis: Visibility,
    sig: Signature,
    body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl Function {
    fn has_body(&self) -> bool {
        let last = self.body.clone().into_iter().last();
        !matches!(last, Some(TokenTree::Punct(mark)) if mark.as_char() == ';')
    }
}

/// Everything about the function that a session cannot call, in the order it is written.
fn validate(function: &Function) -> Vec<Error> {
    let sig = &function.sig;
    let mut faults = Vec::new();
    let mut refuse = |token: &dyn ToTokens, text: &str| {
        faults.push(Error::new_spanned(token.to_token_stream(), text));
    };
    if let Some(token) = &sig.constness {
        refuse(token, CONST);
    }
    if let Some(token) = &sig.asyncness {
        refuse(token, ASYNC);
    }
    if let Safety::Unsafe(token) = &sig.safety {
        refuse(token, UNSAFE);
    }
    if let Some(abi) = &sig.abi {
        refuse(abi, EXTERN);
    }
    if sig.ident != "main" {
        refuse(&sig.ident, &misnamed(&sig.ident));
    }
    if !sig.generics.params.is_empty() {
        refuse(&sig.generics, GENERICS);
    }
    let mut arguments = 0;
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => refuse(receiver, RECEIVER),
            FnArg::Typed(_) => arguments += 1,
        }
        if arguments > 1 {
            refuse(input, ARGUMENT);
        }
    }
    if let Some(variadic) = &sig.variadic {
        refuse(variadic, VARIADIC);
    }
    if let Some(clause) = &sig.generics.where_clause {
        refuse(clause, WHERE);
    }
    if !function.has_body() {
        refuse(&function.body, BODY);
    }
    faults
}

fn misnamed(name: &Ident) -> String {
    format!(
        "#[session::main] is for `main` alone: rename `{name}`, or call `session::Session::new` \
         in a `main` of your own"
    )
}

/// The session: `main` hands the user's function to the library and returns what that returns.
fn expand(function: &Function, options: &Options) -> TokenStream {
    let Function {
        attrs,
        vis,
        sig,
        body,
    } = function;
    let Signature {
        fn_token,
        ident,
        inputs,
        output,
        ..
    } = sig;
    let inner = Ident::new("__session_main", hygienic(ident.span()));
    let library = library(options);
    let launch = launch(sig, &inner, options);
    // The lints that are allowed would have the user change a signature that is ours to choose.
    quote! {
        #(#attrs)*
        #vis #fn_token #ident() -> ::std::process::ExitCode {
            #library
            #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
            fn #inner(#inputs) #output #body
            #launch
        }
    }
}

/// The call into the library.
///
/// All of it has one span, the start of the return type. A type that is no `Termination` is then
/// refused there and once, as rustc tells a failed bound once per span; that is also why the builder
/// is called by path, for the first method of a chain would add an error of another kind.
fn launch(sig: &Signature, inner: &Ident, options: &Options) -> TokenStream {
    let at = hygienic(match &sig.output {
        ReturnType::Default => Span::call_site(),
        ReturnType::Type(_, output) => output.span(),
    });
    // A call that never returns leaves the type of the outcome open.
    let outcome = is_never(&sig.output).then(|| quote_spanned!(at=> ::<()>));
    let work = match sig.inputs.first() {
        // Spanned so that an argument of another type is refused at that type.
        Some(input) => {
            let worker = Ident::new("worker", hygienic(argument_type(input)));
            quote_spanned!(at=> |#worker| #inner(#worker))
        }
        None => quote_spanned!(at=> |_| #inner()),
    };
    let calls = options.calls.iter().map(|(method, argument)| {
        quote_spanned!(at=> let session = __session::Session::#method(session, #argument);)
    });
    quote_spanned! {at=>
        let session = __session::Session #outcome ::new(#work);
        let session = __session::Session::describe(session, |outcome| {
            #[allow(unused_imports)]
            use __session::__private::NoError as _;
            __session::__private::Told(outcome).error_text()
        });
        #(#calls)*
        __session::Session::launch(session)
    }
}

/// The import of the library, which is where a path that leads nowhere is told, once.
fn library(options: &Options) -> TokenStream {
    match &options.library {
        Some(path) => quote_spanned!(path.span()=> use #path as __session;),
        None => quote!(
            use ::session as __session;
        ),
    }
}

/// A span in the user's text for a token that no name of the user's can meet.
fn hygienic(span: Span) -> Span {
    span.resolved_at(Span::mixed_site())
}

fn argument_type(input: &FnArg) -> Span {
    match input {
        FnArg::Typed(argument) => argument.ty.span(),
        FnArg::Receiver(receiver) => receiver.span(),
    }
}

fn is_never(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, output) if matches!(**output, Type::Never(_)))
}

/// A faulty function, with as little to complain about as can be, so that rustc tells what is wrong
/// in its body and an editor still knows it.
fn keep(function: Function, item: TokenStream) -> TokenStream {
    let is_main = function.sig.ident == "main";
    let is_associated = function.sig.receiver().is_some() || !(is_main || function.has_body());
    if is_associated {
        return item;
    }
    if !is_main {
        return beside(&item);
    }
    // Inside of another function a `main` may be async, generic and have arguments. It may be
    // const and extern too, but then its body would be held to more rules.
    let can_stand = function.sig.variadic.is_none() && function.has_body();
    let Function {
        attrs,
        vis,
        mut sig,
        body,
    } = function;
    sig.constness = None;
    sig.abi = None;
    let inner = can_stand.then(|| quote!(#(#attrs)* #sig #body));
    quote!(#vis fn main() { #inner })
}

/// An item that is no `main`, with a `main` that is there only if the user wrote none, since a
/// glob import gives way to what is defined in the module itself.
fn beside(item: &TokenStream) -> TokenStream {
    quote! {
        #item
        mod __session_main { pub fn main() {} }
        #[allow(unused_imports)]
        use __session_main::*;
    }
}

/// The first token behind the attributes and the visibility of an item.
fn keyword_of(item: &TokenStream) -> Span {
    let keyword = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let keyword = input.span();
        input.parse::<TokenStream>()?;
        Ok(keyword)
    };
    keyword
        .parse2(item.clone())
        .unwrap_or_else(|fault| fault.span())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &str, item: &str, expected: &str) {
        let parse = |text: &str| text.parse::<TokenStream>().unwrap();
        let found = rewrite(parse(options), parse(item));
        assert_eq!(found.to_string(), parse(expected).to_string());
    }

    /// What is said about an item, and what is left of it.
    fn refused(options: &str, item: &str) -> (Vec<String>, String) {
        let found = rewrite(options.parse().unwrap(), item.parse().unwrap()).to_string();
        let marker = ":: core :: compile_error ! {";
        let mut rest = found.as_str();
        let mut faults = Vec::new();
        while let Some(fault) = rest.trim_start().strip_prefix(marker) {
            let (text, behind) = fault.split_once('}').unwrap();
            faults.push(text.trim().trim_matches('"').to_owned());
            rest = behind;
        }
        (faults, rest.trim().to_owned())
    }

    #[test]
    fn a_plain_main_becomes_one_call() {
        check(
            "",
            "fn main() { serve(); }",
            "fn main() -> ::std::process::ExitCode {
                use ::session as __session;
                #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
                fn __session_main() { serve(); }
                let session = __session::Session::new(|_| __session_main());
                let session = __session::Session::describe(session, |outcome| {
                    #[allow(unused_imports)]
                    use __session::__private::NoError as _;
                    __session::__private::Told(outcome).error_text()
                });
                __session::Session::launch(session)
            }",
        );
    }

    #[test]
    fn a_full_main_keeps_what_the_user_wrote() {
        check(
            r#"monitor = a::b, config = "c", panic = "main", stack = 65_536, crate = d::e"#,
            "/// Serves.
            #[cold]
            pub(crate) fn main(Worker { id }: Worker) -> Result<(), E> { serve(id)? }",
            r#"/// Serves.
            #[cold]
            pub(crate) fn main() -> ::std::process::ExitCode {
                use d::e as __session;
                #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
                fn __session_main(Worker { id }: Worker) -> Result<(), E> { serve(id)? }
                let session = __session::Session::new(|worker| __session_main(worker));
                let session = __session::Session::describe(session, |outcome| {
                    #[allow(unused_imports)]
                    use __session::__private::NoError as _;
                    __session::__private::Told(outcome).error_text()
                });
                let session = __session::Session::monitor(session, a::b);
                let session = __session::Session::config(session, "c");
                let session = __session::Session::panic(session, __session::PanicPolicy::Main);
                let session = __session::Session::stack(session, 65536);
                __session::Session::launch(session)
            }"#,
        );
    }

    #[test]
    fn the_outcome_of_a_main_that_never_returns_has_a_type() {
        let found = rewrite(
            TokenStream::new(),
            quote!(
                fn main() -> ! {
                    loop {}
                }
            ),
        )
        .to_string();
        assert!(
            found.contains("__session :: Session :: < () > :: new"),
            "{found}"
        );
    }

    #[test]
    fn a_body_is_not_looked_into() {
        let (faults, rest) = refused("", "fn main() { let = ; if 7 }");
        assert_eq!(faults, [""; 0]);
        assert!(rest.contains("let = ; if 7"), "{rest}");
    }

    #[test]
    fn every_fault_is_told_in_the_order_it_is_written() {
        let (faults, rest) = refused(
            "stack = 0, name = 1",
            "const async unsafe extern \"C\" fn main<T>(a: A, b: B, c: C) where T: D { b.await }",
        );
        let of_options = faults.len() - 8;
        assert_eq!(of_options, 2);
        let expected = [
            CONST, ASYNC, UNSAFE, EXTERN, GENERICS, ARGUMENT, ARGUMENT, WHERE,
        ];
        assert_eq!(faults[of_options..], expected);
        let kept = "fn main () { async unsafe fn main < T > (a : A , b : B , c : C) \
                    where T : D { b . await } }";
        assert_eq!(rest, kept);
    }

    #[test]
    fn a_faulty_item_is_still_emitted() {
        let beside = "mod __session_main { pub fn main () { } } # [allow (unused_imports)] \
                      use __session_main :: * ;";
        let table = [
            ("fn serve() {}", format!("fn serve () {{ }} {beside}")),
            ("struct Server;", format!("struct Server ; {beside}")),
            (
                "fn main(&self) { self.run() }",
                "fn main (& self) { self . run () }".to_owned(),
            ),
            ("fn serve();", "fn serve () ;".to_owned()),
            ("pub fn main();", "pub fn main () { }".to_owned()),
            ("fn main(a: ...) { a }", "fn main () { }".to_owned()),
            (
                "#[tokio::main] async fn main() { x.await }",
                "fn main () { # [tokio :: main] async fn main () { x . await } }".to_owned(),
            ),
        ];
        for (item, expected) in table {
            let (faults, rest) = refused("", item);
            assert!(!faults.is_empty(), "{item}");
            assert_eq!(rest, expected, "{item}");
        }
    }

    #[test]
    fn a_fault_of_an_option_alone_leaves_the_function_whole() {
        let (faults, rest) = refused("stack = 1", "fn main(w: Worker) -> R { f(w) }");
        assert_eq!(faults.len(), 1);
        assert_eq!(rest, "fn main () { fn main (w : Worker) -> R { f (w) } }");
    }
}
