//! `cargo xtask unsafe-report`: every use of `unsafe` in the library, and why
//! it is sound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Lit, Meta, Safety};

use crate::cargo;

/// The rooms of the library that may use `unsafe`.
const ROOMS: [&str; 5] = ["buffer", "error", "handle", "operation", "sys"];

pub fn run() -> Result<ExitCode> {
    let source = cargo::workspace().join("src");
    let mut files = Vec::new();
    collect_files(&source, &mut files)?;

    let mut rooms: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let path = file.strip_prefix(&source)?;
        let uses = uses(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let room = rooms.entry(room(path)).or_default();
        let tests = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or(usize::MAX);
        room.extend(uses.into_iter().map(|item| {
            let in_tests = item.line > tests;
            Found { path: path.to_owned(), in_tests, item }
        }));
    }
    Ok(report(&rooms))
}

/// A use of `unsafe`, and where it is.
struct Found {
    path: PathBuf,
    in_tests: bool,
    item: Use,
}

fn report(rooms: &BTreeMap<String, Vec<Found>>) -> ExitCode {
    let mut problems = Vec::new();
    for (room, uses) in rooms.iter().filter(|(_, uses)| !uses.is_empty()) {
        println!("{room}: {} of unsafe", count(uses.len(), "use"));
        for Found { path, in_tests, item } in uses {
            let place = format!("src/{}:{}", path.display(), item.line);
            let reason = item.reason.as_deref().unwrap_or("NO REASON GIVEN");
            println!("  {place}: {}: {reason}", item.kind);
            if item.reason.is_none() {
                problems.push(format!("{place}: {} without {}", item.kind, item.wanted));
            }
            let reason = item.reason.as_deref().unwrap_or_default();
            if ["As above", "As for"].iter().any(|word| reason.starts_with(word)) {
                problems.push(format!("{place}: a reason that is another's: {reason}"));
            }
            let names_a_rule = ["Rule", "No rule"].iter().any(|word| reason.starts_with(word));
            if room == "operation" && item.kind == "block" && !in_tests && !names_a_rule {
                problems.push(format!("{place}: names no rule of src/operation/mod.rs: {reason}"));
            }
            if !ROOMS.contains(&room.as_str()) {
                problems
                    .push(format!("{place}: unsafe in {room}; it belongs in {}", ROOMS.join(", ")));
            }
        }
    }
    let total: usize = rooms.values().map(Vec::len).sum();
    println!("{} in all, {}", count(total, "use"), count(problems.len(), "problem"));
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A file's room is its first folder, or the file itself where it is in none.
fn room(path: &Path) -> String {
    let first = path.components().next();
    let name = first.map(|first| PathBuf::from(first.as_os_str()).with_extension(""));
    name.unwrap_or_default().display().to_string()
}

/// One use of `unsafe`.
struct Use {
    line: usize,
    kind: &'static str,
    /// What has to give the reason.
    wanted: &'static str,
    /// The first line of the reason.
    reason: Option<String>,
}

const COMMENT: &str = "a SAFETY comment above it";
const IN_TRAIT: &str = "its trait states the condition";
const SECTION: &str = "a `# Safety` section in its documentation";

fn uses(text: &str) -> Result<Vec<Use>> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder { lines: text.lines().collect(), starts: Vec::new(), uses: Vec::new() };
    finder.visit_file(&file);
    finder.uses.sort_by_key(|item| item.line);
    Ok(finder.uses)
}

struct Finder<'a> {
    lines: Vec<&'a str>,
    /// The first lines of the statements, arms and items around what is visited.
    starts: Vec<usize>,
    uses: Vec<Use>,
}

impl Finder<'_> {
    /// Notes a use that a comment explains, above it or above the statement it is in.
    fn note_commented(&mut self, kind: &'static str, span: Span) {
        let line = span.start().line;
        let statement = self.starts.last().copied().unwrap_or(line);
        let reason = self.comment_above(line).or_else(|| self.comment_above(statement));
        self.uses.push(Use { line, kind, wanted: COMMENT, reason });
    }

    /// Notes a declaration that puts a condition on its users.
    fn note_declared(&mut self, kind: &'static str, span: Span, attributes: &[Attribute]) {
        let line = span.start().line;
        self.uses.push(Use { line, kind, wanted: SECTION, reason: safety_section(attributes) });
    }

    /// The SAFETY line of the comment that ends right above `line`.
    fn comment_above(&self, line: usize) -> Option<String> {
        let above = self.lines[..line - 1].iter().rev().map(|line| line.trim());
        above
            .take_while(|line| line.starts_with("//") || line.starts_with("#["))
            .find_map(|line| line.trim_start_matches('/').trim().strip_prefix("SAFETY:"))
            .map(|reason| reason.trim().to_owned())
    }

    fn within(&mut self, span: Span, visit: impl FnOnce(&mut Self)) {
        self.starts.push(span.start().line);
        visit(self);
        self.starts.pop();
    }

    /// Macros' arguments are not parsed: their tokens are searched.
    fn search(&mut self, tokens: TokenStream, in_impl_of_trait: bool) {
        let mut header = Vec::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => {
                    let body = group.delimiter() == Delimiter::Brace;
                    let of_trait =
                        ["impl", "for"].iter().all(|word| header.iter().any(|it| it == word));
                    self.search(group.stream(), body && of_trait);
                    if body {
                        header.clear();
                    }
                }
                TokenTree::Ident(word) if word == "unsafe" => match tokens.peek() {
                    Some(TokenTree::Group(_)) => {
                        self.note_commented("block in a macro", word.span());
                    }
                    Some(TokenTree::Ident(next)) if next == "fn" && in_impl_of_trait => {
                        let line = word.span().start().line;
                        let reason = Some(IN_TRAIT.to_owned());
                        self.uses.push(Use {
                            line,
                            kind: "function in a macro",
                            wanted: COMMENT,
                            reason,
                        });
                    }
                    _ => self.note_commented("declaration in a macro", word.span()),
                },
                TokenTree::Ident(word) => header.push(word),
                TokenTree::Punct(mark) if mark.as_char() == ';' => header.clear(),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.note_commented("block", block.unsafe_token.span);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if let Some(token) = unsafe_token(&function.sig) {
            self.note_declared("function", token, &function.attrs);
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if let Some(token) = unsafe_token(&function.sig) {
            self.note_declared("function", token, &function.attrs);
        }
        self.within(function.span(), |finder| {
            visit::visit_impl_item_fn(finder, function);
        });
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(token) = unsafe_token(&function.sig) {
            self.note_declared("function", token, &function.attrs);
        }
        self.within(function.span(), |finder| {
            visit::visit_trait_item_fn(finder, function);
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = item.unsafety {
            self.note_commented("impl", token.span);
        }
        let before = self.uses.len();
        visit::visit_item_impl(self, item);
        // The condition of a trait's function stands in the trait.
        if item.trait_.is_some() {
            for item in &mut self.uses[before..] {
                if item.kind == "function" && item.reason.is_none() {
                    item.reason = Some(IN_TRAIT.to_owned());
                }
            }
        }
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if let Some(token) = item.unsafety {
            self.note_declared("trait", token.span, &item.attrs);
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, block: &'ast syn::ItemForeignMod) {
        if let Some(token) = block.unsafety {
            self.note_commented("extern block", token.span);
        }
        visit::visit_item_foreign_mod(self, block);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("unsafe") {
            self.note_commented("attribute", attribute.span());
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.search(call.tokens.clone(), false);
        visit::visit_macro(self, call);
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.within(item.span(), |finder| visit::visit_item(finder, item));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.within(statement.span(), |finder| {
            visit::visit_stmt(finder, statement);
        });
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.within(arm.span(), |finder| visit::visit_arm(finder, arm));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within(item.span(), |finder| {
            visit::visit_impl_item_const(finder, item);
        });
    }
}

fn unsafe_token(signature: &syn::Signature) -> Option<Span> {
    match &signature.safety {
        Safety::Unsafe(token) => Some(token.span),
        Safety::Safe(_) | Safety::Default => None,
    }
}

/// The first line under the heading `# Safety` of an item's documentation.
fn safety_section(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> = attributes.iter().filter_map(documentation).collect();
    let mut lines = lines.iter().flat_map(|lines| lines.lines()).map(str::trim);
    lines.find(|line| line.starts_with("# Safety"))?;
    lines.find(|line| !line.is_empty()).map(str::to_owned)
}

fn documentation(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    match &meta.value {
        Expr::Lit(literal) if meta.path.is_ident("doc") => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, Option<&str>)]) {
        let uses = uses(text).expect("the text parses");
        let found = uses.iter().map(|item| (item.line, item.kind, item.reason.as_deref()));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_comment_above_the_block_or_its_statement_is_the_reason() {
        let text = "fn f(x: u8) {
            // SAFETY: first,
            // and more.
            let _ = g(1, unsafe { h() });
            let _ = g(
                // SAFETY: second
                unsafe { h() },
            );
            match x {
                // SAFETY: third
                _ => unsafe { h() },
            }
        }";
        let expected = [(4, "first,"), (7, "second"), (11, "third")];
        check(text, &expected.map(|(line, reason)| (line, "block", Some(reason))));
    }

    #[test]
    fn a_reason_elsewhere_does_not_count() {
        let text = "fn f() {
            // SAFETY: this is about something else
            g();
            unsafe { h() }
        }";
        check(text, &[(4, "block", None)]);
    }

    #[test]
    fn macros_are_searched() {
        let text = "fn f() { assert!(unsafe { g() }); }
            macro_rules! m { () => { // SAFETY: not above
                unsafe impl Send for S {} } }";
        let expected = [(1, "block in a macro", None), (3, "declaration in a macro", None)];
        check(text, &expected);
    }

    #[test]
    fn declarations_state_their_condition_once() {
        let text = "
            /// Text.
            ///
            /// # Safety
            ///
            /// Only on Sundays.
            unsafe trait T { unsafe fn a(); }
            // SAFETY: it is Sunday
            unsafe impl T for S { unsafe fn a() {} }
            unsafe fn b() {}";
        let expected = [
            (7, "trait", Some("Only on Sundays.")),
            (7, "function", None),
            (9, "impl", Some("it is Sunday")),
            (9, "function", Some("its trait states the condition")),
            (10, "function", None),
        ];
        check(text, &expected);
    }

    #[test]
    fn words_in_text_are_no_uses() {
        check("// unsafe\nconst A: &str = \"unsafe { }\";", &[]);
    }
}
