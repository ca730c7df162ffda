//! `cargo xtask behaviours`: the behaviours that are not shown on each kernel, and why.
//!
//! All is read from the tests' sources: their names, and the attributes and the
//! calls of `skipped_without` that keep them from running somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::slice;

use anyhow::{Context, Result, bail};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, ExprCall, Item, ItemFn, Lit, Meta, Token};

use crate::cargo;
use crate::miri::LEAKING;
use crate::page::Page;

#[derive(clap::Args, Default)]
pub struct Args {
    /// Write the exceptions into docs/testing.md, rather than compare with it
    #[arg(long)]
    write: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let page = Page::new("testing.md", "cargo xtask behaviours --write");
    let programs = read(&cargo::workspace().join("tests"))?;
    let exceptions = Exceptions::of(&programs).to_string();
    println!("{}", Counts(&programs));
    if args.write {
        page.write(&exceptions)?;
    } else if page.read()? != exceptions {
        bail!("docs/testing.md is out of date: run `cargo xtask behaviours --write`");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a behaviour is not shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Anywhere,
    /// On the simulated kernel, under Miri or not.
    Simulated,
    Miri,
    /// Under Wine and on Windows.
    System,
    /// Where the system has not what it needs.
    Poor,
}

/// Where something is not shown, and why, or what it needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Exception {
    place: Place,
    reason: String,
}

/// A file of tests.
struct Program {
    name: String,
    behaviours: Vec<Behaviour>,
}

/// A test.
struct Behaviour {
    name: String,
    exceptions: Vec<Exception>,
}

fn read(folder: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap_or_default().display().to_string();
            let program = Program::parse(name, &fs::read_to_string(&path)?);
            let program = program.with_context(|| format!("in {}", path.display()))?;
            programs.extend(program);
        }
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

impl Program {
    /// `None` if the program shows no behaviours of the library.
    fn parse(name: String, text: &str) -> Result<Option<Self>> {
        let file = syn::parse_file(text)?;
        let lines: Vec<_> = text.lines().collect();
        if conditions(&file.attrs).any(|condition| condition == "memcheck") {
            return Ok(None);
        }
        let of_all = exceptions(&file.attrs, &lines)?;
        let mut behaviours = Vec::new();
        for item in &file.items {
            let Item::Fn(function) = item else { continue };
            if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
                let behaviour = Behaviour::parse(function, &of_all, &lines);
                let name = &function.sig.ident;
                behaviours.push(behaviour.with_context(|| format!("in the test {name}"))?);
            }
        }
        Ok(Some(Self { name, behaviours }))
    }

    fn has_all(&self, exception: &Exception) -> bool {
        self.behaviours.iter().all(|behaviour| behaviour.exceptions.contains(exception))
    }
}

impl Behaviour {
    fn parse(function: &ItemFn, of_all: &[Exception], lines: &[&str]) -> Result<Self> {
        let name = function.sig.ident.to_string();
        let mut exceptions = exceptions(&function.attrs, lines)?;
        if LEAKING.iter().any(|part| name.contains(part)) {
            // Ignored only to be run apart.
            exceptions.retain(|exception| exception.place != Place::Miri);
        }
        exceptions.extend_from_slice(of_all);
        let needed = needed(&function.block);
        exceptions.extend(needed.map(|reason| Exception { place: Place::Poor, reason }));
        Ok(Self { name: name.replace('_', " "), exceptions })
    }

    fn is_shown(&self, missing: &[Place]) -> bool {
        !self.exceptions.iter().any(|exception| missing.contains(&exception.place))
    }
}

/// The conditions of the attributes `cfg(…)`.
fn conditions(attributes: &[Attribute]) -> impl Iterator<Item = String> + '_ {
    attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            Some(list.tokens.to_string().replace(' ', ""))
        }
        _ => None,
    })
}

/// What the attributes of a file or a test leave out.
fn exceptions(attributes: &[Attribute], lines: &[&str]) -> Result<Vec<Exception>> {
    let mut all = Vec::new();
    for attribute in attributes {
        let one = slice::from_ref(attribute);
        if let Some(condition) = conditions(one).next() {
            let place = match condition.as_str() {
                "simulated_kernel" => Place::System,
                "not(simulated_kernel)" => Place::Simulated,
                _ if ["miri", "simulated_kernel"].iter().any(|part| condition.contains(part)) => {
                    bail!("not understood: cfg({condition})")
                }
                _ => continue,
            };
            let line = lines[attribute.span().end().line - 1];
            let Some((_, reason)) = line.split_once("// ") else {
                bail!("no comment says why: {line}")
            };
            all.push(Exception { place, reason: reason.to_owned() });
        } else if attribute.path().is_ident("cfg_attr") {
            let metas =
                attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            let condition = metas[0].path();
            let place = if condition.is_ident("miri") {
                Place::Miri
            } else if condition.is_ident("simulated_kernel") {
                Place::Simulated
            } else {
                continue;
            };
            for reason in metas.iter().skip(1).filter_map(ignored) {
                all.push(Exception { place, reason: reason? });
            }
        } else if let Some(reason) = ignored(&attribute.meta) {
            all.push(Exception { place: Place::Anywhere, reason: reason? });
        }
    }
    Ok(all)
}

/// The reason in `ignore = "…"`.
fn ignored(meta: &Meta) -> Option<Result<String>> {
    if !meta.path().is_ident("ignore") {
        return None;
    }
    let reason = match meta {
        Meta::NameValue(pair) => literal(&pair.value),
        _ => None,
    };
    Some(reason.context("`ignore` without a reason"))
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// What a test calls `skipped_without` with.
fn needed(block: &Block) -> Option<String> {
    struct Finder(Option<String>);

    impl Visit<'_> for Finder {
        fn visit_expr_call(&mut self, call: &ExprCall) {
            if let Expr::Path(function) = &*call.func
                && function.path.segments.last().is_some_and(|last| last.ident == "skipped_without")
            {
                self.0 = call.args.first().and_then(literal);
            }
            visit::visit_expr_call(self, call);
        }
    }

    let mut finder = Finder(None);
    finder.visit_block(block);
    finder.0
}

/// How many behaviours are shown on each kernel.
struct Counts<'a>(&'a [Program]);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown_without = |missing: &[Place]| {
            let all = self.0.iter().flat_map(|program| &program.behaviours);
            all.filter(|behaviour| behaviour.is_shown(missing)).count()
        };
        let all = shown_without(&[]);
        let simulated = shown_without(&[Place::Anywhere, Place::Simulated]);
        let miri = shown_without(&[Place::Anywhere, Place::Simulated, Place::Miri]);
        let system = shown_without(&[Place::Anywhere, Place::System]);
        write!(
            f,
            "{all} behaviours: {simulated} on the simulated kernel, {miri} of them under Miri, \
             {system} under Wine and on Windows"
        )
    }
}

/// Each exception, with the behaviours that it is for, by the names of their programs.
struct Exceptions<'a>(BTreeMap<&'a Exception, Vec<Group<'a>>>);

/// Behaviours of a program; all of them, if none is named.
struct Group<'a> {
    program: &'a str,
    behaviours: Vec<&'a str>,
}

impl<'a> Exceptions<'a> {
    fn of(programs: &'a [Program]) -> Self {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for program in programs {
            let behaviours = program.behaviours.iter();
            let exceptions: BTreeSet<_> =
                behaviours.flat_map(|behaviour| &behaviour.exceptions).collect();
            for exception in exceptions {
                let mut behaviours = Vec::new();
                if !program.has_all(exception) {
                    let those = program.behaviours.iter();
                    let those = those.filter(|those| those.exceptions.contains(exception));
                    behaviours.extend(those.map(|behaviour| behaviour.name.as_str()));
                }
                all.entry(exception)
                    .or_default()
                    .push(Group { program: &program.name, behaviours });
            }
        }
        Self(all)
    }
}

impl fmt::Display for Exceptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (Exception { place, reason }, groups) in &self.0 {
            if last.replace(place) != Some(place) {
                let title = match place {
                    Place::Anywhere => "Nowhere",
                    Place::Simulated => "Not on the simulated kernel",
                    Place::Miri => "Not under Miri",
                    Place::System => "Not under Wine, nor on Windows",
                    Place::Poor => "Only where there is what they need",
                };
                writeln!(f, "\n### {title}\n")?;
            }
            writeln!(f, "- {reason}:")?;
            for Group { program, behaviours } in groups {
                let behaviours = behaviours.join("; ");
                let what = if behaviours.is_empty() { "all" } else { &behaviours };
                writeln!(f, "  - `{program}`: {what}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Program>> {
        Ok(Program::parse("some".to_owned(), text)?.into_iter().collect())
    }

    fn exceptions(text: &str) -> String {
        Exceptions::of(&parsed(text).unwrap()).to_string()
    }

    #[test]
    fn attributes_and_calls_say_where_a_test_does_not_run() {
        let text = "#[test] fn it_works() {}\n\
                    #[test] #[cfg_attr(miri, ignore = \"slow\")] fn it_is_large() {}\n\
                    #[test] #[cfg_attr(miri, ignore = \"slow\")] fn it_is_larger() {}\n\
                    #[test] #[cfg_attr(simulated_kernel, ignore = \"odd\")] fn it_is_odd() {}\n\
                    #[test] #[cfg_attr(miri, ignore = \"apart\")] fn it_can_leak() {}\n\
                    #[test] #[ignore = \"later\"] fn it_waits() {}\n\
                    #[test] fn it_needs() { if a() { return support::skipped_without(\"tea\") } }\n\
                    fn helper() {}\n";
        let expected = "\n### Nowhere\n\n- later:\n  - `some`: it waits\n\
                        \n### Not on the simulated kernel\n\n- odd:\n  - `some`: it is odd\n\
                        \n### Not under Miri\n\n- slow:\n  - `some`: it is large; it is larger\n\
                        \n### Only where there is what they need\n\n\
                        - tea:\n  - `some`: it needs\n\n";
        assert_eq!(exceptions(text), expected);
        let counts = "7 behaviours: 5 on the simulated kernel, 3 of them under Miri, \
                      6 under Wine and on Windows";
        assert_eq!(Counts(&parsed(text).unwrap()).to_string(), counts);
    }

    #[test]
    fn a_file_says_where_none_of_it_runs() {
        let text = "#![cfg(not(simulated_kernel))] // because\n#[test] fn it_works() {}\n";
        let expected = "\n### Not on the simulated kernel\n\n- because:\n  - `some`: all\n\n";
        assert_eq!(exceptions(text), expected);
        let text = "#![cfg(simulated_kernel)] // so\n#[test] fn it_works() {}\n";
        let expected = "\n### Not under Wine, nor on Windows\n\n- so:\n  - `some`: all\n\n";
        assert_eq!(exceptions(text), expected);
    }

    #[test]
    fn what_is_left_out_without_a_reason_is_refused() {
        for text in [
            "#![cfg(simulated_kernel)]\n",
            "#![cfg(all(miri, windows))] // why\n",
            "#[test] #[ignore] fn it_works() {}\n",
            "#[test] #[cfg_attr(miri, ignore)] fn it_works() {}\n",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
