//! How deep the types of a component nest, found out without recursion.
//!
//! Everybody who reads a component, our parser and the engine's compiler alike, reads a type
//! within a type by recursion: 20,000 component types within each other are 60 kB, and end
//! the process that reads them. So this is looked at first, with a counter in place of a
//! stack. Only types of components and of instances nest: types of core modules hold no
//! others, what is defined by reference (a list of a list) has a limit of 100 in the parser,
//! and nested components are read by a parser that keeps its place in a list.
//!
//! The byte values are those of `Binary.md` of the component model, sections "Type
//! Definitions" and "Instance Definitions"; whatever does not nest is read by the same
//! parser that reads it later, so that the two cannot disagree.

use model::{Code, Refusal};
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternName, ComponentImport, ComponentType,
    ComponentTypeRef, CoreType, Error,
};

/// How deep types may nest. Those of every toolchain we know nest one deep: an interface is a
/// type of an instance. A thread of 2 MiB takes 100 levels in a build without optimisation,
/// and less than 1,000.
const MAX_DEPTH: usize = 32;

/// The most types and declarations within types of a component, at any depth. Two bytes
/// make a type that takes the validator hundreds, so that 24 MiB could take gigabytes. A
/// component in Rust has 66, Python's runtime 153, QuickJS 693.
const MAX_ITEMS: usize = 20_000;

/// Counts the types of a component, section by section.
#[derive(Default)]
pub(crate) struct Nesting {
    items: usize,
}

impl Nesting {
    /// Looks at a section of component types: `bytes` is its content, `offset` where that
    /// begins in the component.
    ///
    /// # Errors
    /// `ResolverInvalid`, naming the offset, where types nest deeper than [`MAX_DEPTH`], are
    /// more than [`MAX_ITEMS`], or cannot be read.
    pub(crate) fn look_at(&mut self, bytes: &[u8], offset: usize) -> Result<(), Refusal> {
        self.walk(BinaryReader::new(bytes, offset))
            .map_err(|found| match found {
                Found::Damaged(error) => invalid(format!(
                    "expected a component, found a damaged type in it: {error}"
                )),
                Found::Deep(at) => invalid(format!(
                    "expected types that nest at most {MAX_DEPTH} deep, found a deeper one at \
                     offset {at:#x}"
                )),
                Found::Many(at) => invalid(format!(
                    "expected at most {MAX_ITEMS} types and declarations of types, found more \
                     at offset {at:#x}"
                )),
            })
    }

    fn walk(&mut self, mut reader: BinaryReader<'_>) -> Result<(), Found> {
        // How many items are still to come of everything that is open: the section first,
        // whose items are types, then types, whose items are declarations.
        let mut open = vec![reader.read_var_u32()?];
        while let Some(left) = open.last_mut() {
            let Some(less) = left.checked_sub(1) else {
                open.pop();
                continue;
            };
            *left = less;
            let at = reader.original_position();
            self.items += 1;
            if self.items > MAX_ITEMS {
                return Err(Found::Many(at));
            }
            let is_type = open.len() == 1 || declares_type(&mut reader)?;
            if !is_type {
                continue;
            }
            let mut ahead = reader.clone();
            if matches!(ahead.read_u8()?, 0x41 | 0x42) {
                if open.len() > MAX_DEPTH {
                    return Err(Found::Deep(at));
                }
                reader = ahead;
                open.push(reader.read_var_u32()?);
            } else {
                reader.read::<ComponentType<'_>>()?;
            }
        }
        Ok(())
    }
}

/// Reads a declaration, or only its first byte where a type follows.
fn declares_type(reader: &mut BinaryReader<'_>) -> Result<bool, Found> {
    let at = reader.original_position();
    match reader.read_u8()? {
        0x00 => {
            reader.read::<CoreType<'_>>()?;
        }
        0x01 => return Ok(true),
        0x02 => {
            reader.read::<ComponentAlias<'_>>()?;
        }
        // Only types of components have imports; those of instances that do are refused
        // later.
        0x03 => {
            reader.read::<ComponentImport<'_>>()?;
        }
        0x04 => {
            reader.read::<ComponentExternName<'_>>()?;
            reader.read::<ComponentTypeRef>()?;
        }
        other => {
            return Err(Found::Damaged(format!(
                "expected a declaration, found {other:#x} (at offset {at:#x})"
            )));
        }
    }
    Ok(false)
}

enum Found {
    Damaged(String),
    Deep(usize),
    Many(usize),
}

impl From<Error> for Found {
    fn from(error: Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(Code::ResolverInvalid, message)
}
