//! The Windows program that is traced: where it is in memory, where its marks
//! and its functions are.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use super::tracer::Region;

/// `prefetchnta [rax + ...]`, as in `benches/cost/src/marks.rs`.
const BEGIN: [u8; 7] = [0x0F, 0x18, 0x80, 0xA1, 0x75, 0x05, 0x0C];
const END: [u8; 7] = [0x0F, 0x18, 0x80, 0xA2, 0x75, 0x05, 0x0C];

pub struct Image {
    /// All of the program's code. It is loaded where it wants to be.
    pub code: Range<u64>,
    pub begin: u64,
    pub end: u64,
    /// Functions by their addresses, in order.
    symbols: Vec<(u64, String)>,
}

impl Image {
    pub fn read(program: &Path) -> Result<Self> {
        let data =
            std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let file = object::File::parse(&*data)?;
        let text = file
            .sections()
            .find(|section| section.kind() == SectionKind::Text)
            .context("the program has no code")?;
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?.to_owned())))
            .collect();
        symbols.sort_unstable();
        Ok(Self {
            code: text.address()..text.address() + text.size(),
            begin: text.address() + offset_of(text.data()?, BEGIN)?,
            end: text.address() + offset_of(text.data()?, END)?,
            symbols,
        })
    }

    /// The functions of a region with their instructions a time, most first.
    pub fn functions(&self, region: &Region) -> Vec<(String, f64)> {
        let mut counts = HashMap::<&str, u64>::new();
        for (&address, &count) in &region.addresses {
            let index = self.symbols.partition_point(|(start, _)| *start <= address);
            let name = index.checked_sub(1).map_or("?", |index| &self.symbols[index].1);
            *counts.entry(name).or_default() += count;
        }
        let mut functions: Vec<_> = counts
            .into_iter()
            .map(|(name, count)| {
                let name = format!("{:#}", rustc_demangle::demangle(name));
                (name, count as f64 / region.times as f64)
            })
            .collect();
        functions.sort_by(|one, other| other.1.total_cmp(&one.1));
        functions
    }
}

/// Where the only occurrence of `mark` is.
fn offset_of(code: &[u8], mark: [u8; 7]) -> Result<u64> {
    let mut offsets = code.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark);
    let Some((offset, _)) = offsets.next() else { bail!("the program has no mark {mark:02x?}") };
    ensure!(offsets.next().is_none(), "the program has the mark {mark:02x?} twice");
    Ok(offset as u64)
}
