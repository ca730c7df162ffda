//! `cargo xtask behaviours`: each behaviour that a test shows, and the kernels
//! that it is shown on.
//!
//! All is read from the tests' sources: their names, and the attributes and the
//! calls of `skipped_without` that keep them from running somewhere.

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
    /// Write the table into docs/testing.md, rather than compare with it
    #[arg(long)]
    write: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let page = Page::new("testing.md", "cargo xtask behaviours --write");
    let table = Table::read(&cargo::workspace().join("tests"))?.to_string();
    if args.write {
        page.write(&table)?;
    } else if page.read()? != table {
        bail!("docs/testing.md is out of date: run `cargo xtask behaviours --write`");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where behaviours are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Simulated,
    /// The same, under Miri.
    Miri,
    Wine,
    Windows,
}

use Kernel::{Miri, Simulated, Windows, Wine};

const KERNELS: [Kernel; 4] = [Simulated, Miri, Wine, Windows];

/// Where something is not shown, and why.
#[derive(Clone, PartialEq, Eq)]
struct LeftOut {
    kernels: &'static [Kernel],
    reason: String,
}

/// A file of tests.
struct Program {
    name: String,
    /// The first sentence of its documentation.
    about: String,
    behaviours: Vec<Behaviour>,
}

/// A test.
struct Behaviour {
    name: String,
    left_out: Vec<LeftOut>,
    /// What it cannot be shown without.
    needed: Option<String>,
}

struct Table(Vec<Program>);

impl Table {
    fn read(folder: &Path) -> Result<Self> {
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
        Ok(Self(programs))
    }

    fn shown_on(&self, kernel: Kernel) -> usize {
        let all = self.0.iter().flat_map(|program| &program.behaviours);
        all.filter(|behaviour| behaviour.is_shown_on(kernel)).count()
    }
}

impl Program {
    /// `None` if the program shows no behaviours of the library.
    fn parse(name: String, text: &str) -> Result<Option<Self>> {
        let file = syn::parse_file(text)?;
        let lines: Vec<_> = text.lines().collect();
        if conditions(&file.attrs).any(|condition| condition == "memcheck") {
            return Ok(None);
        }
        let of_all = left_out(&file.attrs, &lines)?;
        let mut behaviours = Vec::new();
        for item in &file.items {
            let Item::Fn(function) = item else { continue };
            if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
                let behaviour = Behaviour::parse(function, &of_all, &lines);
                let name = &function.sig.ident;
                behaviours.push(behaviour.with_context(|| format!("in the test {name}"))?);
            }
        }
        Ok(Some(Self { name, about: about(&lines), behaviours }))
    }
}

impl Behaviour {
    fn parse(function: &ItemFn, of_all: &[LeftOut], lines: &[&str]) -> Result<Self> {
        let name = function.sig.ident.to_string();
        let mut left_out = left_out(&function.attrs, lines)?;
        if LEAKING.iter().any(|part| name.contains(part)) {
            // Ignored only to be run apart.
            left_out.retain(|left_out| left_out.kernels != [Miri]);
        }
        left_out.extend_from_slice(of_all);
        Ok(Self { name: name.replace('_', " "), left_out, needed: needed(&function.block) })
    }

    fn is_shown_on(&self, kernel: Kernel) -> bool {
        !self.left_out.iter().any(|left_out| left_out.kernels.contains(&kernel))
    }

    /// What the table says of a kernel.
    fn on(&self, kernel: Kernel) -> String {
        match self.left_out.iter().find(|left_out| left_out.kernels.contains(&kernel)) {
            Some(LeftOut { reason, .. }) => format!("no: {reason}"),
            None => match &self.needed {
                Some(needed) => format!("if there is {needed}"),
                None => "yes".to_owned(),
            },
        }
    }
}

/// The first sentence of a file's documentation.
fn about(lines: &[&str]) -> String {
    let lines = lines.iter().map_while(|line| line.strip_prefix("//!"));
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    text.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
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
fn left_out(attributes: &[Attribute], lines: &[&str]) -> Result<Vec<LeftOut>> {
    let mut all = Vec::new();
    for attribute in attributes {
        let one = slice::from_ref(attribute);
        if let Some(condition) = conditions(one).next() {
            let kernels: &[Kernel] = match condition.as_str() {
                "simulated_kernel" => &[Wine, Windows],
                "not(simulated_kernel)" => &[Simulated, Miri],
                _ if ["miri", "simulated_kernel"].iter().any(|part| condition.contains(part)) => {
                    bail!("not understood: cfg({condition})")
                }
                _ => continue,
            };
            let line = lines[attribute.span().end().line - 1];
            let Some((_, reason)) = line.split_once("// ") else {
                bail!("no comment says why: {line}")
            };
            all.push(LeftOut { kernels, reason: reason.to_owned() });
        } else if attribute.path().is_ident("cfg_attr") {
            let metas =
                attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            let condition = metas[0].path();
            let kernels: &[Kernel] = if condition.is_ident("miri") {
                &[Miri]
            } else if condition.is_ident("simulated_kernel") {
                &[Simulated, Miri]
            } else {
                continue;
            };
            for reason in metas.iter().skip(1).filter_map(ignored) {
                all.push(LeftOut { kernels, reason: reason? });
            }
        } else if let Some(reason) = ignored(&attribute.meta) {
            all.push(LeftOut { kernels: &KERNELS, reason: reason? });
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

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [simulated, miri, wine, windows] = KERNELS.map(|kernel| self.shown_on(kernel));
        let all: usize = self.0.iter().map(|program| program.behaviours.len()).sum();
        writeln!(
            f,
            "{all} behaviours: {simulated} on the simulated kernel, {miri} of them under Miri, \
             {wine} under Wine, {windows} on Windows."
        )?;
        for Program { name, about, behaviours } in &self.0 {
            writeln!(f, "\n### `tests/{name}.rs`\n\n{about}\n")?;
            writeln!(
                f,
                "| behaviour | simulated | Miri | Wine | Windows |\n|---|---|---|---|---|"
            )?;
            for behaviour in behaviours {
                let cells = KERNELS.map(|kernel| behaviour.on(kernel)).join(" | ");
                writeln!(f, "| {} | {cells} |", behaviour.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<String> {
        let program = Program::parse("some".to_owned(), text)?;
        Ok(Table(program.into_iter().collect()).to_string())
    }

    #[test]
    fn attributes_and_calls_say_where_a_test_runs() {
        let text = "//! About. More.\n\
                    #[test] fn it_works() {}\n\
                    #[test] #[cfg_attr(miri, ignore = \"slow\")] fn it_is_large() {}\n\
                    #[test] #[cfg_attr(simulated_kernel, ignore = \"odd\")] fn it_is_odd() {}\n\
                    #[test] #[cfg_attr(miri, ignore = \"apart\")] fn it_can_leak() {}\n\
                    #[test] #[ignore = \"later\"] fn it_waits() {}\n\
                    #[test] fn it_needs() { if a() { return support::skipped_without(\"tea\") } }\n\
                    fn helper() {}\n";
        let expected = "6 behaviours: 4 on the simulated kernel, 3 of them under Miri, \
                        5 under Wine, 5 on Windows.\n\n\
                        ### `tests/some.rs`\n\nAbout.\n\n\
                        | behaviour | simulated | Miri | Wine | Windows |\n|---|---|---|---|---|\n\
                        | it works | yes | yes | yes | yes |\n\
                        | it is large | yes | no: slow | yes | yes |\n\
                        | it is odd | no: odd | no: odd | yes | yes |\n\
                        | it can leak | yes | yes | yes | yes |\n\
                        | it waits | no: later | no: later | no: later | no: later |\n\
                        | it needs | if there is tea | if there is tea | if there is tea | \
                        if there is tea |\n";
        assert_eq!(table(text).unwrap(), expected);
    }

    #[test]
    fn a_file_says_where_all_of_it_runs() {
        let text = "#![cfg(not(simulated_kernel))] // because\n#[test] fn it_works() {}\n";
        assert!(
            table(text).unwrap().contains("| it works | no: because | no: because | yes | yes |")
        );
        let text = "#![cfg(simulated_kernel)] // so\n#[test] fn it_works() {}\n";
        assert!(table(text).unwrap().contains("| it works | yes | yes | no: so | no: so |"));
    }

    #[test]
    fn what_is_left_out_without_a_reason_is_refused() {
        for text in [
            "#![cfg(simulated_kernel)]\n",
            "#![cfg(all(miri, windows))] // why\n",
            "#[test] #[ignore] fn it_works() {}\n",
            "#[test] #[cfg_attr(miri, ignore)] fn it_works() {}\n",
        ] {
            assert!(table(text).is_err(), "{text}");
        }
    }
}
